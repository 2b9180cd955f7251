//! Time limits, sizes and the end.

use crate::support::http2::{Frames, Http2, USUAL, fields_block, frame, get, reason, whole};
use crate::support::{Binary, House, Issuer, Origin, Reply, client, eventually};

const GOAWAY: u8 = 7;

#[tokio::test]
async fn a_client_that_does_not_ask_or_not_to_the_end_is_sent_away() {
    let house = House::start(&["--header-timeout", "300ms", "--skip-auth-route", "/*"]).await;
    let mut silent = Frames::connect(house.gate.addr()).await;
    assert_eq!(silent.next_of(1).await, None);
    let mut asked = Frames::connect(house.gate.addr()).await;
    asked.send(&frame(1, 0x5, 1, &fields_block(&USUAL))).await;
    assert!(asked.next_of(1).await.is_some());
    // The same connection, half a list of fields: END_STREAM without END_HEADERS.
    asked.send(&frame(1, 0x1, 3, &fields_block(&USUAL))).await;
    let goaway = asked.next_of(GOAWAY).await.unwrap();
    // ENHANCE_YOUR_CALM.
    assert_eq!(goaway.payload[4..8], 11_u32.to_be_bytes());
    assert_eq!(asked.next().await, None);
    // Half a frame of them.
    let mut half = Frames::connect(house.gate.addr()).await;
    half.send(&frame(1, 0x5, 1, &fields_block(&USUAL))).await;
    assert!(half.next_of(1).await.is_some());
    half.send(&frame(1, 0x5, 3, &fields_block(&USUAL))[..20]).await;
    assert!(half.next_of(GOAWAY).await.is_some());
    assert_eq!(house.origin.received().len(), 2);
}

#[tokio::test]
async fn an_idle_connection_ends_and_a_busy_one_does_not() {
    let house = House::start(&["--idle-timeout", "300ms"]).await;
    house.origin.reply_at("/held", Reply::ok("late").held());
    let token = house.issuer.token().sign();
    let mut busy = Http2::connect(house.gate.addr()).await;
    let (held, _) = busy.begin(get("/held", Some(&token)), true).await;
    let mut idle = Frames::connect(house.gate.addr()).await;
    idle.send(&frame(1, 0x5, 1, &fields_block(&USUAL))).await;
    assert!(idle.next_of(1).await.is_some());
    // NO_ERROR.
    assert_eq!(idle.next_of(GOAWAY).await.unwrap().payload[4..8], [0; 4]);
    assert_eq!(idle.next_of(1).await, None);
    house.origin.release();
    assert_eq!(whole(held).await.unwrap().text(), "late");
}

#[tokio::test]
async fn an_answer_that_is_not_read_is_given_up_and_its_connection_is_not() {
    let house = House::start(&["--stream-idle-timeout", "300ms"]).await;
    house.origin.reply_at("/large", Reply::pattern(10_000_000));
    let token = house.issuer.token().sign();
    // Room for this stream alone would be all that there is.
    let roomy = h2::client::Builder::new().initial_connection_window_size(1 << 20).clone();
    let mut client = Http2::connect_with(house.gate.addr(), &roomy).await;
    let (large, _) = client.begin(get("/large", Some(&token)), true).await;
    // Its body is left where it is: no room is made for more.
    let _unread = large.await.unwrap().into_body();
    eventually("the origin is left", async || house.origin.abandoned() == 1).await;
    assert_eq!(client.exchange(get("/", Some(&token))).await.status, 200);
}

#[tokio::test]
async fn sizes_are_those_of_http_1_1() {
    let house = House::start(&["--skip-auth-route", "/*"]).await;
    let mut client = Http2::connect(house.gate.addr()).await;
    let long = format!("/{}", "a".repeat(16 * 1024));
    assert_eq!(reason(&client.exchange(get(&long, None)).await), "uri_too_long");
    let mut many = get("/", None);
    for number in 0..101 {
        let name = http::HeaderName::try_from(format!("x-{number}")).unwrap();
        many.headers_mut().insert(name, "v".parse().unwrap());
    }
    assert_eq!(reason(&client.exchange(many).await), "headers_too_large");
    let mut large = get("/", None);
    large.headers_mut().insert("x-large", "v".repeat(33 * 1024).parse().unwrap());
    let (refused, _) = client.begin(large, true).await;
    assert_eq!(whole(refused).await.unwrap().status, 431);
    assert_eq!(client.exchange(get("/", None)).await.status, 200);
    assert_eq!(house.origin.received().len(), 1);
}

#[tokio::test]
async fn no_more_than_100_streams_are_open_at_a_time() {
    let house = House::start(&["--skip-auth-route", "/*"]).await;
    house.origin.reply(Reply::never());
    let mut client = Frames::connect(house.gate.addr()).await;
    let settings = client.next_of(4).await.unwrap();
    let told: Vec<_> =
        settings.payload.chunks(6).map(|one| (one[1], u32::from_be_bytes([one[2], one[3], one[4], one[5]]))).collect();
    // SETTINGS_MAX_CONCURRENT_STREAMS and SETTINGS_MAX_HEADER_LIST_SIZE.
    assert!(told.contains(&(3, 100)) && told.contains(&(6, 32 * 1024)), "{told:?}");
    for number in 0..101 {
        client.send(&frame(1, 0x5, 2 * number + 1, &fields_block(&USUAL))).await;
    }
    let refused = client.next_of(3).await.unwrap();
    // REFUSED_STREAM.
    assert_eq!((refused.stream, refused.payload), (201, vec![0, 0, 0, 7]));
    house.origin.has_begun(100).await;
    assert_eq!(house.origin.begun(), 100);
}

#[tokio::test]
async fn sigterm_is_told_and_loses_no_stream() {
    let (issuer, origin) = (Issuer::start(), Origin::start());
    let binary = Binary::start(&["--issuer", &issuer.url(), "--upstream", &origin.url(), "--workers", "1"]);
    let admin = binary.admin_addr().await;
    eventually("it is ready", async || client::get_local(admin, "/readyz").await.status == 200).await;
    origin.reply_at("/held", Reply::ok("late").held());
    let token = issuer.token().sign();
    let addr = binary.addr().await;
    let (mut idle, mut client) = (Http2::connect(addr).await, Http2::connect(addr).await);
    assert_eq!(idle.exchange(get("/", Some(&token))).await.status, 200);
    let (held, _) = client.begin(get("/held", Some(&token)), true).await;
    origin.has_begun(2).await;
    binary.signal("TERM");
    idle.ended().await.unwrap();
    eventually("it is told", async || client.takes_no_more().await).await;
    origin.release();
    assert_eq!(whole(held).await.unwrap().text(), "late");
    client.ended().await.unwrap();
    assert_eq!(binary.wait().await.code, Some(0));
}

#[tokio::test]
async fn a_goaway_is_what_an_idle_client_sees_of_a_drain() {
    let (issuer, origin) = (Issuer::start(), Origin::start());
    let flags =
        ["--issuer", &*issuer.url(), "--upstream", &*origin.url(), "--skip-auth-route", "/*"].map(str::to_owned);
    let binary = Binary::start(&flags.each_ref().map(String::as_str));
    let mut client = Frames::connect(binary.addr().await).await;
    client.send(&frame(1, 0x5, 1, &fields_block(&USUAL))).await;
    assert!(client.next_of(1).await.is_some());
    binary.signal("TERM");
    assert!(client.next_of(GOAWAY).await.is_some());
    // It never answers the PING that follows.
    assert_eq!(client.next_of(1).await, None);
    assert_eq!(binary.wait().await.code, Some(0));
}

/// A request whose answer has ten bytes, of which the client has made room for five.
async fn half_read(gate: std::net::SocketAddr) -> Frames {
    let mut client = Frames::connect(gate).await;
    // SETTINGS_INITIAL_WINDOW_SIZE.
    client.send(&frame(4, 0, 0, &[0, 4, 0, 0, 0, 5])).await;
    client.send(&frame(1, 0x5, 1, &fields_block(&USUAL))).await;
    let half = client.next_of(0).await.unwrap();
    assert_eq!((half.flags, &*half.payload), (0, &b"01234"[..]));
    client
}

#[tokio::test]
async fn the_last_of_an_answer_is_not_kept_for_long() {
    let house = House::start(&["--skip-auth-route", "/*", "--stream-idle-timeout", "300ms"]).await;
    house.origin.reply(Reply::ok("0123456789"));
    let mut client = half_read(house.gate.addr()).await;
    // The origin has long answered; only the client is waited for.
    assert_eq!(client.next_of(0).await, None);
}

#[tokio::test]
async fn a_drain_waits_for_the_last_of_an_answer() {
    let (issuer, origin) = (Issuer::start(), Origin::start());
    origin.reply(Reply::ok("0123456789"));
    let flags = ["--issuer", &*issuer.url(), "--upstream", &*origin.url(), "--skip-auth-route", "/*"];
    for (reads, code) in [(true, 0), (false, 143)] {
        let binary = Binary::start(&[&flags[..], &["--shutdown-grace-period", "2s"]].concat());
        let mut client = half_read(binary.addr().await).await;
        binary.signal("TERM");
        assert!(client.next_of(GOAWAY).await.is_some());
        if reads {
            client.send(&frame(8, 0, 1, &5_u32.to_be_bytes())).await;
            assert_eq!(client.next_of(0).await.unwrap().payload, b"56789");
        }
        // One that does not read is waited for until the grace period is over.
        assert_eq!(binary.wait().await.code, Some(code));
    }
}

#[tokio::test]
async fn a_client_that_never_makes_room_holds_the_origin_for_no_longer_than_others() {
    let house = House::start(&["--skip-auth-route", "/*", "--stream-idle-timeout", "300ms"]).await;
    house.origin.reply(Reply::pattern(10_000_000));
    let mut client = Frames::connect(house.gate.addr()).await;
    client.send(&frame(4, 0, 0, &[0, 4, 0, 0, 0, 0])).await;
    for number in 0..10 {
        client.send(&frame(1, 0x5, 2 * number + 1, &fields_block(&USUAL))).await;
    }
    for _ in 0..10 {
        // RST_STREAM with CANCEL.
        assert_eq!(client.next_of(3).await.unwrap().payload, 8_u32.to_be_bytes());
    }
    eventually("the origin is left", async || house.origin.abandoned() == 10).await;
}

#[tokio::test]
async fn a_connection_that_a_client_resets_is_over() {
    let house = House::start(&["--workers", "1", "--skip-auth-route", "/*"]).await;
    for _ in 0..3 {
        let mut client = Frames::connect(house.gate.addr()).await;
        client.send(&frame(1, 0x5, 1, &fields_block(&USUAL))).await;
        assert!(client.next_of(0).await.is_some());
        client.reset();
        // Its worker has nothing more to do with it.
        let mut good = Http2::connect(house.gate.addr()).await;
        assert_eq!(good.exchange(get("/", None)).await.status, 200);
    }
}
