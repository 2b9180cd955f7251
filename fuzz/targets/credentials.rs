//! Any `Authorization` fields, one a line: the one Bearer token in them, or none.
#![no_main]

use claimgate::token::Credentials;
use http::{HeaderMap, HeaderValue, header};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(header::AUTHORIZATION, value);
        }
    }
    let Ok(credentials) = Credentials::from_headers(&headers) else { return };
    assert_eq!(headers.len(), 1, "of two fields neither is taken");
    let field = headers[header::AUTHORIZATION].as_bytes();
    assert!(field[..7].eq_ignore_ascii_case(b"bearer "));
    assert!(field.ends_with(credentials.as_bytes()));
    let Ok(token) = credentials.token() else { return };
    assert!(token.len() <= 16 * 1024);
    assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte)));
    assert_eq!(token.as_bytes(), credentials.as_bytes());
});
