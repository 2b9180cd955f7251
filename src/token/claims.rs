//! What a token has to claim to be accepted (RFC 7519 §4.1, RFC 8725 §3).

use std::time::Duration;

use crate::clock::NumericDate;
use crate::denial::Denial;
use crate::jose::{Claim, ClaimsSet};

/// What is expected of every token of an issuer.
#[derive(Clone, Debug)]
pub struct Expectations {
    /// Who we are, in the words of `aud`; empty: whoever the token is for.
    pub audiences: Vec<String>,
    /// How far clocks may differ.
    pub leeway: Duration,
    /// The longest time from `iat` to `exp`; `None`: any.
    pub max_lifetime: Option<Duration>,
}

/// When a token is valid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Validity {
    /// `exp`, without any leeway.
    pub expiration: NumericDate,
    /// `nbf`.
    pub not_before: Option<NumericDate>,
    /// `iat`.
    pub issued_at: Option<NumericDate>,
}

impl Expectations {
    /// Checks the claims, in an order that is always the same, so that one token at one time gets one reason.
    pub fn check(&self, claims: &ClaimsSet<'_>, issuer: &str, now: NumericDate) -> Result<Validity, Denial> {
        check_issuer(claims, issuer)?;
        // Before its times: it has no `exp`, and the reason is not that.
        if claims.is_security_event() {
            return Err(Denial::UnexpectedType("a security event token, it has events".into()));
        }
        let expiration = date("exp", claims.expiration())?.ok_or(Denial::MissingClaim("exp".into()))?;
        self.check_not_expired(expiration, now)?;
        let not_before = date("nbf", claims.not_before())?;
        self.check_begun("nbf", not_before, now)?;
        let issued_at = date("iat", claims.issued_at())?;
        self.check_begun("iat", issued_at, now)?;
        self.check_lifetime(expiration, issued_at)?;
        self.check_audience(claims)?;
        Ok(Validity { expiration, not_before, issued_at })
    }

    /// Checks again, later, whether the time is right: all that can change about a token that was accepted.
    pub fn check_time(&self, validity: &Validity, now: NumericDate) -> Result<(), Denial> {
        self.check_not_expired(validity.expiration, now)?;
        self.check_begun("nbf", validity.not_before, now)?;
        self.check_begun("iat", validity.issued_at, now)
    }

    fn check_not_expired(&self, at: NumericDate, now: NumericDate) -> Result<(), Denial> {
        if now < at.plus(self.leeway) { Ok(()) } else { Err(Denial::Expired { at, now, clock_skew: None }) }
    }

    fn check_begun(&self, claim: &'static str, at: Option<NumericDate>, now: NumericDate) -> Result<(), Denial> {
        match at {
            Some(at) if now < at.minus(self.leeway) => Err(Denial::NotYetValid { claim, at, now, clock_skew: None }),
            _ => Ok(()),
        }
    }

    /// Without `iat` there is no lifetime to be judged.
    fn check_lifetime(&self, expiration: NumericDate, issued_at: Option<NumericDate>) -> Result<(), Denial> {
        let Some(limit) = self.max_lifetime else { return Ok(()) };
        let issued_at = issued_at.ok_or(Denial::MissingClaim("iat".into()))?;
        let seconds = expiration.as_seconds() - issued_at.as_seconds();
        if seconds <= limit.as_secs_f64() {
            return Ok(());
        }
        Err(Denial::LifetimeTooLong { lifetime: Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX), limit })
    }

    fn check_audience(&self, claims: &ClaimsSet<'_>) -> Result<(), Denial> {
        let found = match claims.audience() {
            Claim::WrongType => return Err(malformed("aud", "must be a string or an array of strings")),
            Claim::Absent => None,
            Claim::Is(found) => Some(found),
        };
        if self.audiences.is_empty() {
            // An ID token is for the client that asked for it, not for us (OpenID Connect Core 1.0 §2). Nothing else
            // would stop it here.
            return if claims.has_token_hash() { Err(Denial::UnexpectedType("an ID token".into())) } else { Ok(()) };
        }
        let found = found.ok_or(Denial::MissingClaim("aud".into()))?;
        if found.iter().any(|audience| self.audiences.contains(audience)) {
            Ok(())
        } else {
            Err(Denial::WrongAudience {
                found: found.join(", ").into(),
                expected: Some(self.audiences.join(", ").into()),
            })
        }
    }
}

/// Compared with the issuer of the key, byte for byte: a key speaks for its own issuer only (RFC 8725 §3.8).
fn check_issuer(claims: &ClaimsSet<'_>, issuer: &str) -> Result<(), Denial> {
    if claims.issuer() == Claim::Is(issuer) {
        Ok(())
    } else {
        Err(Denial::UntrustedIssuer("the key is another issuer's".into()))
    }
}

fn date(name: &'static str, claim: Claim<f64>) -> Result<Option<NumericDate>, Denial> {
    match claim {
        Claim::Absent => Ok(None),
        Claim::WrongType => Err(malformed(name, "must be a number")),
        Claim::Is(seconds) => match NumericDate::from_seconds(seconds) {
            Some(date) => Ok(Some(date)),
            None => Err(malformed(name, "must be within 2^63 seconds of the epoch")),
        },
    }
}

fn malformed(claim: &'static str, expected: &'static str) -> Denial {
    Denial::MalformedClaim { claim: claim.into(), expected }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::tests::claims_set;

    const ISSUER: &str = "https://issuer.example.com";

    /// Noon; a leeway of 30 s; no audience.
    const NOW: f64 = 1_000_000.0;

    fn check(claims: &str, expectations: &Expectations) -> Result<Validity, Denial> {
        let payload = format!(r#"{{"iss":"{ISSUER}",{claims}}}"#);
        expectations.check(&claims_set(&payload), ISSUER, at(NOW))
    }

    fn expectations() -> Expectations {
        Expectations { audiences: Vec::new(), leeway: Duration::from_secs(30), max_lifetime: None }
    }

    fn at(seconds: f64) -> NumericDate {
        NumericDate::from_seconds(seconds).unwrap()
    }

    /// The reason, and the detail that the client may see.
    fn outcome<T>(result: Result<T, Denial>) -> String {
        match result {
            Ok(_) => "accepted".to_owned(),
            Err(denial) => format!("{} {}", denial.row().reason, denial.shared_detail().unwrap_or_default()),
        }
    }

    #[test]
    fn times_are_judged_to_the_edge_of_the_leeway() {
        let cases = [
            ("in time", r#""exp":1000001"#, "accepted"),
            ("RFC 7519 §4.1.4: on or after is too late", r#""exp":999970"#, "expired"),
            ("a moment before", r#""exp":999970.001"#, "accepted"),
            ("before the epoch", r#""exp":-1"#, "expired"),
            ("zero", r#""exp":0"#, "expired"),
            ("with an exponent", r#""exp":1.1e6"#, "accepted"),
            ("nbf at the edge", r#""exp":2000000,"nbf":1000030"#, "accepted"),
            ("nbf beyond it", r#""exp":2000000,"nbf":1000030.001"#, "not_yet_valid nbf"),
            ("iat at the edge", r#""exp":2000000,"iat":1000030"#, "accepted"),
            ("iat beyond it", r#""exp":2000000,"iat":1000030.001"#, "not_yet_valid iat"),
            ("nbf before the epoch", r#""exp":2000000,"nbf":-5"#, "accepted"),
            ("no exp", r#""nbf":1"#, "missing_claim exp is required"),
            ("exp as text", r#""exp":"2000000""#, "malformed_claim exp must be a number"),
            ("exp of null", r#""exp":null"#, "malformed_claim exp must be a number"),
            ("exp in a list", r#""exp":[2000000]"#, "malformed_claim exp must be a number"),
            ("nbf as text", r#""exp":2000000,"nbf":"1""#, "malformed_claim nbf must be a number"),
            ("iat as text", r#""exp":2000000,"iat":"1""#, "malformed_claim iat must be a number"),
            ("2^53 - 1", r#""exp":9007199254740991"#, "accepted"),
            ("2^53", r#""exp":9007199254740992"#, "accepted"),
            ("2^63 - 1", r#""exp":9223372036854775807"#, "accepted"),
            ("2^63", r#""exp":9223372036854775808"#, "malformed_claim exp must be within 2^63"),
            ("2^64", r#""exp":18446744073709551616"#, "malformed_claim exp must be within 2^63"),
            ("-2^63 + 1", r#""exp":2000000,"nbf":-9223372036854775807"#, "accepted"),
            ("-2^63", r#""exp":2000000,"nbf":-9223372036854775808"#, "malformed_claim nbf must be within 2^63"),
        ];
        for (name, claims, expected) in cases {
            let outcome = outcome(check(claims, &expectations()));
            assert!(outcome.starts_with(expected), "{name}: {outcome}");
        }
    }

    #[test]
    fn the_issuer_is_compared_byte_for_byte() {
        let cases = [
            (r#"{"iss":"https://issuer.example.com","exp":2000000}"#, "accepted"),
            (r#"{"iss":"https:\/\/issuer.example.com","exp":2000000}"#, "accepted"),
            (r#"{"iss":"https://issuer.example.com/","exp":2000000}"#, "untrusted_issuer "),
            (r#"{"iss":"https://Issuer.example.com","exp":2000000}"#, "untrusted_issuer "),
            (r#"{"iss":["https://issuer.example.com"],"exp":2000000}"#, "untrusted_issuer "),
            (r#"{"iss":null,"exp":2000000}"#, "untrusted_issuer "),
            (r#"{"exp":2000000}"#, "untrusted_issuer "),
        ];
        for (payload, expected) in cases {
            let result = expectations().check(&claims_set(payload), ISSUER, at(NOW));
            assert_eq!(outcome(result), expected, "{payload}");
        }
    }

    #[test]
    fn the_audience_has_to_be_one_of_ours() {
        let ours = Expectations { audiences: vec!["api".to_owned(), "api-2".to_owned()], ..expectations() };
        let cases = [
            (r#""aud":"api""#, "accepted", "accepted"),
            (r#""aud":["other","api-2"]"#, "accepted", "accepted"),
            (r#""aud":["other","b"]"#, "wrong_audience other, b", "accepted"),
            (r#""aud":"API""#, "wrong_audience API", "accepted"),
            (r#""aud":"api api-2""#, "wrong_audience api api-2", "accepted"),
            (r#""aud":"""#, "wrong_audience ", "accepted"),
            (r#""aud":[]"#, "wrong_audience ", "accepted"),
            (r#""sub":"api""#, "missing_claim aud is required", "accepted"),
            (r#""aud":1"#, MALFORMED, MALFORMED),
            (r#""aud":null"#, MALFORMED, MALFORMED),
            (r#""aud":["api",1]"#, MALFORMED, MALFORMED),
            (r#""aud":[["api"]]"#, MALFORMED, MALFORMED),
            (r#""aud":{"api":1}"#, MALFORMED, MALFORMED),
            (r#""aud":"api","at_hash":"x""#, "accepted", "unexpected_type "),
            (r#""aud":"api","c_hash":"x""#, "accepted", "unexpected_type "),
        ];
        for (claims, with_ours, with_none) in cases {
            let claims = format!(r#""exp":2000000,{claims}"#);
            assert_eq!(outcome(check(&claims, &ours)), with_ours, "{claims}");
            assert_eq!(outcome(check(&claims, &expectations())), with_none, "{claims}");
        }
    }

    const MALFORMED: &str = "malformed_claim aud must be a string or an array of strings";

    #[test]
    fn of_several_faults_the_first_in_order_is_named() {
        let strict = Expectations {
            audiences: vec!["api".to_owned()],
            max_lifetime: Some(Duration::from_mins(25_000)),
            ..expectations()
        };
        // Each step mends the fault that was named before it.
        let steps = [
            (r#""iss":"x","exp":"1","nbf":"1","iat":"1","aud":1"#, "untrusted_issuer "),
            (r#""iss":"https://issuer.example.com","exp":"1","nbf":"1","iat":"1","aud":1"#, "malformed_claim exp must"),
            (r#""iss":"https://issuer.example.com","exp":1,"nbf":"1","iat":"1","aud":1"#, "expired"),
            (r#""iss":"https://issuer.example.com","exp":2e6,"nbf":"1","iat":"1","aud":1"#, "malformed_claim nbf must"),
            (r#""iss":"https://issuer.example.com","exp":2e6,"nbf":1,"iat":"1","aud":1"#, "malformed_claim iat must"),
            (r#""iss":"https://issuer.example.com","exp":2e6,"nbf":1,"iat":1,"aud":1"#, "lifetime_too_long 1999999 s"),
            (r#""iss":"https://issuer.example.com","exp":2e6,"nbf":1,"aud":1"#, "missing_claim iat is required"),
            (r#""iss":"https://issuer.example.com","exp":2e6,"nbf":1,"iat":5e5,"aud":1"#, "malformed_claim aud must"),
            (r#""iss":"https://issuer.example.com","exp":2e6,"nbf":1,"iat":5e5,"aud":"x""#, "wrong_audience x"),
            (r#""iss":"https://issuer.example.com","exp":2e6,"nbf":1,"iat":5e5,"aud":"api""#, "accepted"),
        ];
        for (claims, expected) in steps {
            let claims = claims_set(&format!("{{{claims}}}"));
            let outcome = outcome(strict.check(&claims, ISSUER, at(NOW)));
            assert!(outcome.starts_with(expected), "{outcome}, not {expected}");
        }
    }

    #[test]
    fn an_accepted_token_is_checked_again_by_its_times_alone() {
        let validity = check(r#""exp":1000100,"nbf":999000,"iat":999500"#, &expectations()).unwrap();
        assert_eq!(validity.expiration, at(1_000_100.0));
        assert_eq!((validity.not_before, validity.issued_at), (Some(at(999_000.0)), Some(at(999_500.0))));
        let again = |now| outcome(expectations().check_time(&validity, at(now)));
        assert_eq!(again(1_000_129.999), "accepted");
        assert!(again(1_000_130.0).starts_with("expired"));
        // The clock was set back.
        assert!(again(999_469.0).starts_with("not_yet_valid iat"));
        assert!(again(900_000.0).starts_with("not_yet_valid nbf"));
    }
}
