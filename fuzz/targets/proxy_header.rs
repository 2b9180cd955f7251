//! Any bytes as a PROXY header: its end is where its own words put it, whatever follows.
#![no_main]

use claimgate::server::fuzzing::proxy_header;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((len, names_a_client)) = proxy_header(data) else { return };
    assert!(len <= data.len());
    // Neither what follows it nor its absence changes it.
    assert_eq!(proxy_header(&data[..len]), Some((len, names_a_client)));
    assert_eq!(proxy_header(&data[..len - 1]), None);
    let followed = [&data[..len], b"GET / HTTP/1.1\r\n\r\n"].concat();
    assert_eq!(proxy_header(&followed), Some((len, names_a_client)));
});
