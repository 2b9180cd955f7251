//! ES256 signatures of values that no signer makes: the edges that Wycheproof tries too.

use super::Caller;
use crate::support::House;
use crate::support::key::base64url;

/// FIPS 186-5, P-256: the order n, and the size p of the field.
const N: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
const P: &str = "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff";

#[derive(Clone, Copy)]
enum Value {
    /// As it was signed.
    Own,
    Zero,
    One,
    N,
    NMinusOne,
    NPlusOne,
    P,
    Max,
    /// The order less the signed value. As `s` it is a signature of the same message (FIPS 186-5 knows no low-s rule).
    Negated,
}

use Value::{Max, NMinusOne, NPlusOne, Negated, One, Own, Zero};

type Case = (&'static str, &'static str, Value, Value, &'static str);

const CASES: &[Case] = &[
    ("as signed", "RFC 7518 §3.4", Own, Own, "passed"),
    ("r and s zero", "CVE-2022-21449", Zero, Zero, "invalid_signature"),
    ("r zero", "CVE-2022-21449", Zero, Own, "invalid_signature"),
    ("s zero", "CVE-2022-21449", Own, Zero, "invalid_signature"),
    ("r zero, s one", "FIPS 186-5 §6.4.2", Zero, One, "invalid_signature"),
    ("r one, s zero", "FIPS 186-5 §6.4.2", One, Zero, "invalid_signature"),
    ("r and s one", "FIPS 186-5 §6.4.2", One, One, "invalid_signature"),
    ("r the order, s zero", "CVE-2022-21449", Value::N, Zero, "invalid_signature"),
    ("r zero, s the order", "CVE-2022-21449", Zero, Value::N, "invalid_signature"),
    ("r and s the order", "CVE-2022-21449", Value::N, Value::N, "invalid_signature"),
    ("r the order", "FIPS 186-5 §6.4.2", Value::N, Own, "invalid_signature"),
    ("s the order", "FIPS 186-5 §6.4.2", Own, Value::N, "invalid_signature"),
    ("r one less than the order", "FIPS 186-5 §6.4.2", NMinusOne, Own, "invalid_signature"),
    ("s one less than the order", "FIPS 186-5 §6.4.2", Own, NMinusOne, "invalid_signature"),
    ("r one more than the order", "FIPS 186-5 §6.4.2", NPlusOne, One, "invalid_signature"),
    ("s one more than the order", "FIPS 186-5 §6.4.2", One, NPlusOne, "invalid_signature"),
    ("r the size of the field", "FIPS 186-5 §6.4.2", Value::P, One, "invalid_signature"),
    ("s the size of the field", "FIPS 186-5 §6.4.2", One, Value::P, "invalid_signature"),
    ("r and s all ones", "FIPS 186-5 §6.4.2", Max, Max, "invalid_signature"),
    ("r all ones", "FIPS 186-5 §6.4.2", Max, Own, "invalid_signature"),
    ("r negated", "FIPS 186-5 §6.4.2", Negated, Own, "invalid_signature"),
    ("s negated: another signature of the same token", "FIPS 186-5 §6.4.2", Own, Negated, "passed"),
];

pub(super) fn cases() -> Vec<(&'static str, &'static str)> {
    CASES.iter().map(|(name, source, ..)| (*name, *source)).collect()
}

#[tokio::test]
async fn values_that_no_signer_makes_are_no_signature() {
    let house = House::start(&[]).await;
    let token = house.issuer.token();
    let signed = token.sign();
    let (message, _) = signed.rsplit_once('.').unwrap();
    let signature = token.key.sign(message.as_bytes());
    let (r, s) = signature.split_at(32);
    let mut caller = Caller::new(house.gate.addr());
    for (name, source, first, second, expected) in CASES {
        let forged = [first.octets(r), second.octets(s)].concat();
        let forged = format!("{message}.{}", base64url(forged));
        assert_eq!(caller.verdict(&forged).await, *expected, "{name} ({source})");
    }
    let passing = CASES.iter().filter(|(.., expected)| *expected == "passed").count();
    assert_eq!(house.origin.begun(), passing, "what is refused does not reach the origin");
}

impl Value {
    fn octets(self, own: &[u8]) -> Vec<u8> {
        let (n, one) = (hex(N), [vec![0; 31], vec![1]].concat());
        match self {
            Self::Own => own.to_vec(),
            Self::Zero => vec![0; 32],
            Self::One => one,
            Self::NMinusOne => subtract(&n, &one),
            Self::NPlusOne => {
                let mut value = n;
                *value.last_mut().unwrap() += 1;
                value
            }
            Self::N => n,
            Self::P => hex(P),
            Self::Max => vec![0xff; 32],
            Self::Negated => subtract(&n, own),
        }
    }
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect()
}

/// Of two numbers of one length, the first at least the second.
fn subtract(from: &[u8], number: &[u8]) -> Vec<u8> {
    let mut borrow = false;
    let mut difference = from.to_vec();
    for (digit, less) in difference.iter_mut().zip(number).rev() {
        let (value, first) = digit.overflowing_sub(*less);
        let (value, second) = value.overflowing_sub(u8::from(borrow));
        (*digit, borrow) = (value, first || second);
    }
    difference
}
