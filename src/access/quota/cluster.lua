-- GCRA over all nodes, on Redis' own clock: what `gcra.rs` does on one. Times are microseconds.
--
-- KEYS[1]  when the budget is whole again
-- ARGV     time in which one request comes back, requests of a whole budget, requests which may be owed beyond it,
--          requests to be charged in any case, requests to be granted if there is room for so many
-- answers  requests granted, time until there is room for one, time until the budget is whole
local interval, burst, most_owed = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local charged, wanted = tonumber(ARGV[4]), tonumber(ARGV[5])

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local whole_at = tonumber(redis.call('GET', KEYS[1]) or '') or now
local most = (burst + most_owed) * interval
local taken = math.min(math.max(whole_at - now, 0) + charged * interval, most)
local room = math.floor((burst * interval - taken) / interval)
local granted = math.max(0, math.min(wanted, room))
taken = taken + granted * interval
if charged + granted > 0 then
  redis.call('SET', KEYS[1], string.format('%.0f', now + taken), 'PX', math.ceil(taken / 1000))
end
return { granted, math.ceil(math.max(0, taken + interval - burst * interval)), math.ceil(taken) }
