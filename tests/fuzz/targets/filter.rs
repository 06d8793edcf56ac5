#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| realmgate_fuzz::filter::keeps_its_promises(bytes));
