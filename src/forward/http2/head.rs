//! The head of a request in HTTP/2 (RFC 9113 §8.3.1).

use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{Request, Version, header, request};

use crate::denial::Denial;

/// The same head, as HTTP/1.1 has it: what is about a connection goes, `Host` becomes `:authority`. `TE` stays if the
/// client sent it (gRPC needs it); nothing but `trailers` is in it here.
pub(super) fn translate(mut parts: request::Parts, scheme: Scheme) -> Result<Request<()>, Denial> {
    let host = parts.headers.remove(header::HOST);
    for name in [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE] {
        parts.headers.remove(name);
    }
    let authority = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
    // It carries no user information (RFC 9113 §8.3.1).
    let authority = authority.filter(|authority| !authority.as_str().contains('@'));
    let authority = authority.ok_or_else(|| Denial::MalformedRequest("no valid host".into()))?;
    let target = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(target).build();
    parts.uri = uri.map_err(|error| Denial::MalformedRequest(format!("the request target: {error}").into()))?;
    parts.version = Version::HTTP_2;
    Ok(Request::from_parts(parts, ()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(request: Request<()>) -> Result<Request<()>, Denial> {
        translate(request.into_parts().0, Scheme::HTTPS)
    }

    #[test]
    fn what_is_about_a_connection_goes_and_the_host_becomes_the_authority() {
        let request = Request::get("/a?b=%20c")
            .header("host", "example.com:8443")
            .header("connection", "te")
            .header("te", "trailers")
            .header("transfer-encoding", "chunked")
            .header("cookie", "a=1")
            .header("cookie", "b=2");
        let request = translated(request.body(()).unwrap()).unwrap();
        assert_eq!(request.uri(), "https://example.com:8443/a?b=%20c");
        let values = |name| request.headers().get_all(name).iter().collect::<Vec<_>>();
        assert_eq!(values("te"), ["trailers"]);
        assert_eq!(values("cookie"), ["a=1", "b=2"]);
        assert_eq!(request.headers().len(), 3);
    }

    #[test]
    fn an_asterisk_is_a_path_too() {
        let request = Request::options("*").header("host", "example.com").body(()).unwrap();
        assert_eq!(translated(request).unwrap().uri().path(), "*");
    }

    #[test]
    fn a_host_that_is_no_authority_is_refused() {
        for host in ["", "a b", "user@example.com", "a/b"] {
            let request = Request::get("/").header("host", host).body(()).unwrap();
            assert!(matches!(translated(request), Err(Denial::MalformedRequest(_))), "{host:?}");
        }
    }
}
