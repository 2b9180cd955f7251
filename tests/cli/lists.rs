//! Commas in flags that take a list.

use serde_json::Value;

use crate::support::{Binary, Issuer, Origin, client, eventually};

/// Flags and variables, and the audiences that pass and those that do not.
type Case = (&'static [&'static str], Option<&'static str>, &'static [&'static str], &'static [&'static str]);

#[tokio::test]
async fn a_comma_splits_what_is_given_once_and_a_repeated_flag_is_whole() {
    let cases: [Case; 5] = [
        (&["--audience", "orders,billing"], None, &["orders", "billing"], &["orders,billing"]),
        (&["--audience", "urn:x:a,b", "--audience", "orders"], None, &["urn:x:a,b", "orders"], &["urn:x:a", "b"]),
        (&["--audience", "urn:x:a,b", "--audience", "urn:x:a,b"], None, &["urn:x:a,b"], &["urn:x:a", "b"]),
        (&[], Some("orders, billing"), &["orders", "billing"], &["orders, billing"]),
        (&["--audience", "orders"], Some("a,b"), &["orders"], &["a", "b"]),
    ];
    let (issuer, origin) = (Issuer::start(), Origin::start());
    let (issuer_url, upstream) = (issuer.url(), origin.url());
    let usual = ["--issuer", &*issuer_url, "--upstream", &*upstream, "--log-format", "json"];
    let listen = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    for (flags, variable, pass, fail) in cases {
        let env: Vec<_> = variable.map(|value| ("CLAIMGATE_AUDIENCE", value)).into_iter().collect();
        let binary = Binary::spawn(&[&usual[..], &listen, flags].concat(), &env);
        let (addr, admin) = (binary.addr().await, binary.admin_addr().await);
        eventually("it is ready", async || client::get_local(admin, "/readyz").await.status == 200).await;
        for (audiences, status) in [(pass, 200), (fail, 401)] {
            for audience in audiences {
                let token = issuer.token().claim("aud", *audience).sign();
                assert_eq!(
                    client::get(addr, "/", Some(&token)).await.status,
                    status,
                    "{flags:?} {variable:?}: {audience}"
                );
            }
        }
    }
}

#[tokio::test]
async fn the_parts_of_a_split_list_are_printed() {
    let (issuer, origin) = (Issuer::start(), Origin::start());
    let (issuer_url, upstream) = (issuer.url(), origin.url());
    let usual = ["--issuer", &*issuer_url, "--upstream", &*upstream];
    for (flags, told) in [
        (&["--audience", "urn:x:a,b"][..], Some("--audience 'urn:x:a,b' is read as 2 values: 'urn:x:a' and 'b'")),
        (
            &["--claim-header", "a=X-A,b=X-B"],
            Some("--claim-header 'a=X-A,b=X-B' is read as 2 values: 'a=X-A' and 'b=X-B'"),
        ),
        (&["--trusted-proxy", "::1,10.0.0.0/8,unix"], Some("3 values: '::1' and '10.0.0.0/8' and 'unix'")),
        (&["--audience", "a,b", "--audience", "c"], None),
        (&["--audience", "a"], None),
    ] {
        let binary = Binary::start(&[&usual[..], flags].concat());
        let admin = binary.admin_addr().await;
        eventually("it is ready", async || client::get_local(admin, "/readyz").await.status == 200).await;
        let text = |line: &Value| line["msg"].as_str().unwrap_or_default().to_owned();
        let read: Vec<_> = binary.log().iter().map(text).filter(|line| line.contains("is read as")).collect();
        assert_eq!(read.len(), usize::from(told.is_some()), "{flags:?}: {read:?}");
        assert!(told.is_none_or(|told| read[0].contains(told)), "{flags:?}: {read:?}");
    }
}
