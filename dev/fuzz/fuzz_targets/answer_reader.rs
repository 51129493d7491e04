//! Any bytes from a model server, cut anywhere, end in an answer or a classified error.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| errand_worker::fuzz_reader(data));
