// Verifies recorded webhooks with the library `standardwebhooks` of npm: `webhooks.mjs FOLDER`, where FOLDER is where
// `npm ci` has put its packages; stdin is a JSON array of objects with `secret`, `headers` and `body`. Ends with an
// exception at the first which is not believed, or is believed though it was changed.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const packages = createRequire(pathToFileURL(`${process.argv[2]}/`));
const { Webhook } = packages("standardwebhooks");

const recorded = JSON.parse(readFileSync(0, "utf8"));
for (const { secret, headers, body } of recorded) {
  assert.deepEqual(new Webhook(secret).verify(body, headers), JSON.parse(body));
  assert.throws(() => new Webhook(secret).verify(`${body} `, headers));
  assert.throws(() => new Webhook(`whsec_${"A".repeat(32)}`).verify(body, headers));
  assert.throws(() => new Webhook(secret).verify(body, { ...headers, "webhook-id": "another" }));
}
console.log(`${recorded.length} verified`);
