//! Chunked bodies (RFC 9112, 7.1), by tables: the input, and the body or the refusal, however the bytes are cut.

use chinwag::codec::http::{HEAD_MAX_BYTES, UNUSED_MAX_BYTES};
use chinwag::codec::{Input, Step, Unfinished, http};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::calls::{BODY_MAX, Decoded, decode};
use crate::http::{asked, check, check_fields_refused, get};
use crate::random::check as check_random;

const HEAD: &str = "POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
const NEXT: &str = "GET /next HTTP/1.1\r\nHost: h\r\n\r\n";

/// Bounds of `codec/http/chunked.rs`.
const SIZE_LINE_MAX_BYTES: usize = 1024;
const EXTENSIONS_MAX_BYTES: usize = 8 * 1024;

fn post(body: &str) -> Decoded {
    asked("POST", "/x", body)
}

/// Checks that the chunks decode to that body, alone and with a request behind them.
#[track_caller]
fn check_body(chunks: &str, body: &str) {
    check(format!("{HEAD}{chunks}").as_bytes(), &[post(body)]);
    check(format!("{HEAD}{chunks}{NEXT}").as_bytes(), &[post(body), get("/next")]);
}

/// Checks that the chunks are refused, and that nothing behind them is read.
#[track_caller]
fn check_chunks_refused(status: u16, chunks: impl AsRef<[u8]>) {
    let input = [HEAD.as_bytes(), chunks.as_ref()].concat();
    check(&input, &[Decoded::Refused(status)]);
    check(&[&input, NEXT.as_bytes()].concat(), &[Decoded::Refused(status)]);
}

#[test]
fn chunks_are_joined_to_a_body() {
    for (chunks, body) in [
        ("0\r\n\r\n", ""),
        ("5\r\nhello\r\n0\r\n\r\n", "hello"),
        ("1\r\nh\r\n4\r\nello\r\n0\r\n\r\n", "hello"),
        ("A\r\n0123456789\r\n0\r\n\r\n", "0123456789"),
        ("a\r\n0123456789\r\n0\r\n\r\n", "0123456789"),
        ("10\r\n0123456789abcdef\r\n00\r\n\r\n", "0123456789abcdef"),
        ("0000000000000005\r\nhello\r\n0000000000000000\r\n\r\n", "hello"),
        // Chunk data that looks like framing.
        ("7\r\n0\r\n\r\n\r\n\r\n0\r\n\r\n", "0\r\n\r\n\r\n"),
        ("2\r\n\r\n\r\n0\r\n\r\n", "\r\n"),
        ("3\r\n€\r\n0\r\n\r\n", "€"),
    ] {
        check_body(chunks, body);
    }
}

#[test]
fn extensions_and_trailers_are_ignored() {
    for chunks in [
        "2;a=b\r\nhi\r\n0\r\n\r\n",
        "2;a\r\nhi\r\n0;b=\"c;d\"\r\n\r\n",
        "2 ; a = b\r\nhi\r\n0\r\n\r\n",
        "2\t;\ta\r\nhi\r\n0\r\n\r\n",
        "2;\r\nhi\r\n0\r\n\r\n",
        "2;é\r\nhi\r\n0\r\n\r\n",
        "2\r\nhi\r\n0\r\nX: y\r\n\r\n",
        "2\r\nhi\r\n0\r\nX: y\r\nZ:\r\n\r\n",
        "2\r\nhi\r\n0\r\nContent-Length: 99\r\nTransfer-Encoding: x\r\nHost: evil\r\n\r\n",
    ] {
        check_body(chunks, "hi");
    }
}

#[test]
fn incomplete_chunks_are_no_body_yet() {
    for chunks in [
        "",
        "5",
        "5\r",
        "5\r\n",
        "5\r\nhell",
        "5\r\nhello",
        "5\r\nhello\r",
        "5\r\nhello\r\n",
        "0\r\n",
        "0\r\nX: y\r\n",
    ] {
        check(format!("{HEAD}{chunks}").as_bytes(), &[]);
    }
}

#[test]
fn ambiguous_chunks_are_refused() {
    for chunks in [
        // Bare line ends.
        "5\nhello\r\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        "5\r\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\r0\r\n\r\n",
        "5;a\nhello\r\n0\r\n\r\n",
        "5;a\rb\r\nhello\r\n0\r\n\r\n",
        "5;a\r\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\n\n",
        "5\r\nhello\r\n0\r\n\n",
        "5\r\nhello\r\n0\r\nX: y\n\r\n",
        // Sizes.
        "\r\nhello\r\n0\r\n\r\n",
        "\r\n\r\n",
        ";a\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5 a\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "5h\r\nhello\r\n0\r\n\r\n",
        "5,5\r\nhello\r\n0\r\n\r\n",
        "5.0\r\nhello\r\n0\r\n\r\n",
        "g\r\nhello\r\n0\r\n\r\n",
        "٥\r\nhello\r\n0\r\n\r\n",
        "00000000000000005\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "5;\0\r\nhello\r\n0\r\n\r\n",
        "5;\x1b\r\nhello\r\n0\r\n\r\n",
        "5;\x7f\r\nhello\r\n0\r\n\r\n",
        // Data that is longer or shorter than its size.
        "4\r\nhello\r\n0\r\n\r\n",
        "6\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        // Trailers.
        "0\r\n X: y\r\n\r\n",
        "0\r\nX : y\r\n\r\n",
        "0\r\nX\r\n\r\n",
        "0\r\nX: \0\r\n\r\n",
        "0\r\nX: y\r\n z\r\n\r\n",
    ] {
        check_chunks_refused(400, chunks);
    }
}

#[test]
fn transfer_coding_other_than_chunked_is_refused() {
    check_fields_refused(
        400,
        &[
            "Transfer-Encoding:\r\n",
            "Transfer-Encoding: ,\r\n",
            "Transfer-Encoding: identity\r\n",
            "Transfer-Encoding: gzip\r\n",
            "Transfer-Encoding: chunked, gzip\r\n",
            "Transfer-Encoding: chunked, chunked\r\n",
            "Transfer-Encoding: gzip, chunked, chunked\r\n",
            "Transfer-Encoding: chunked,\r\n",
            "Transfer-Encoding: , chunked\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding: chunkedx\r\n",
            "Transfer-Encoding: chunked;q=1\r\n",
            "Transfer-Encoding: \"chunked\"\r\n",
            "Transfer-Encoding: chunked gzip\r\n",
            "Transfer-Encoding: \x0bchunked\r\n",
            "Transfer-Encoding : chunked\r\n",
            " Transfer-Encoding: chunked\r\n",
            "Transfer-Encoding\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
            "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length: x\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length: 5\r\nTransfer-Encoding: gzip, chunked\r\n",
        ],
    );
    check_fields_refused(
        501,
        &[
            "Transfer-Encoding: gzip, chunked\r\n",
            "transfer-encoding:GZIP ,\tChunked\r\n",
            "Transfer-Encoding: identity, chunked\r\n",
            "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip, deflate;x=\"y\", chunked\r\n",
        ],
    );
    for field in ["Transfer-Encoding: Chunked", "transfer-encoding:\tCHUNKED \t"] {
        let input = format!("POST /x HTTP/1.1\r\nHost: h\r\n{field}\r\n\r\n2\r\nhi\r\n0\r\n\r\n");
        check(input.as_bytes(), &[post("hi")]);
    }
    for coding in ["chunked", "gzip, chunked", "identity"] {
        let old = format!("POST /x HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: {coding}\r\n\r\n0\r\n\r\n");
        check(old.as_bytes(), &[Decoded::Refused(400)]);
    }
    let read = "GET /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
    check(format!("{read}{NEXT}").as_bytes(), &[asked("GET", "/x", "hi"), get("/next")]);
    let upgrade = "GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n\r\n";
    check(upgrade.as_bytes(), &[Decoded::Refused(400)]);
}

#[test]
fn client_that_expects_100_continue_before_its_chunks_is_sent_it_once() {
    let head = HEAD.replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n");
    check(head.as_bytes(), &[Decoded::Continue]);
    let whole = format!("{head}2\r\nhi\r\n0\r\n\r\n{NEXT}");
    check(whole.as_bytes(), &[Decoded::Continue, post("hi"), get("/next")]);
    check(format!("{head}x\r\n").as_bytes(), &[Decoded::Continue, Decoded::Refused(400)]);
    let old = "POST /x HTTP/1.0\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi";
    check(old.as_bytes(), &[post("hi")]);
}

#[test]
fn sum_of_the_chunks_has_the_limit_of_a_body() {
    let longest = "x".repeat(BODY_MAX);
    check_body(&format!("{BODY_MAX:x}\r\n{longest}\r\n0\r\n\r\n"), &longest);
    let bytes = "1\r\nx\r\n".repeat(BODY_MAX);
    check_body(&format!("{bytes}0\r\n\r\n"), &longest);
    // The size alone exceeds the limit, before the data has come.
    check_chunks_refused(413, format!("{bytes}1\r\n"));
    check_chunks_refused(413, format!("{:x}\r\n", BODY_MAX + 1));
    for size in ["100000000", "7fffffffffffffff", "8000000000000000", "ffffffffffffffff", "FFFFFFFFFFFFFFFF"]
    {
        check_chunks_refused(413, format!("{size}\r\n"));
        check_chunks_refused(413, format!("1\r\nx\r\n{size}\r\n"));
    }
}

#[test]
fn extensions_have_a_limit_for_a_chunk_and_for_a_body() {
    let chunk = |extension: usize| format!("1;{}\r\nx\r\n", "e".repeat(extension - 1));
    let longest = SIZE_LINE_MAX_BYTES - 3;
    let whole = |chunks: &str| format!("{HEAD}{chunks}0\r\n\r\n");
    check(whole(&chunk(longest)).as_bytes(), &[post("x")]);
    check(whole(&chunk(longest + 1)).as_bytes(), &[Decoded::Refused(413)]);
    let endless = format!("{HEAD}1;{}", "e".repeat(SIZE_LINE_MAX_BYTES));
    check(endless.as_bytes(), &[Decoded::Refused(413)]);
    let eighth = EXTENSIONS_MAX_BYTES / 16;
    check(whole(&chunk(eighth).repeat(16)).as_bytes(), &[post(&"x".repeat(16))]);
    let over = chunk(eighth).repeat(16) + "1;\r\nx\r\n";
    check(whole(&over).as_bytes(), &[Decoded::Refused(413)]);
    // The next body has its own allowance.
    let twice = whole(&chunk(eighth).repeat(16)).repeat(2);
    check(twice.as_bytes(), &[post(&"x".repeat(16)), post(&"x".repeat(16))]);
}

#[test]
fn trailers_have_the_limits_of_a_head() {
    let trailer = |bytes: usize| format!("0\r\nX: {}\r\n\r\n", "y".repeat(bytes - "X: \r\n\r\n".len()));
    check(format!("{HEAD}{}", trailer(HEAD_MAX_BYTES)).as_bytes(), &[post("")]);
    check(format!("{HEAD}{}", trailer(HEAD_MAX_BYTES + 1)).as_bytes(), &[Decoded::Refused(431)]);
    let fields = |count: usize| format!("{HEAD}0\r\n{}\r\n", "X: y\r\n".repeat(count));
    check(fields(64).as_bytes(), &[post("")]);
    check(fields(65).as_bytes(), &[Decoded::Refused(431)]);
}

/// A body of single bytes with as many extensions as allowed: the buffered input is bounded.
#[test]
fn small_chunks_with_much_overhead_use_no_memory() {
    let mut unfinished: Option<Box<Unfinished>> = None;
    let mut unused = HEAD.as_bytes().to_vec();
    let body_max = 100_000;
    for round in 0..20_000 {
        let extension = if round < 8 { ";".repeat(900) } else { String::new() };
        unused.extend(format!("0000000000000001{extension}\r\nx\r\n").as_bytes());
        while let Step::Used { bytes, input } = http::decode(&mut unfinished, &unused, body_max) {
            assert!(input.is_none());
            unused.drain(..bytes);
        }
        assert!(unused.is_empty(), "chunks are used as they come");
    }
    unused.extend(b"0\r\n\r\n");
    let Step::Used { input: Some(Input::Http(Ok(call))), .. } =
        http::decode(&mut unfinished, &unused, body_max)
    else {
        panic!("no request")
    };
    assert_eq!(call.body().len(), 20_000);
    assert!(unfinished.is_none() && unused.len() <= UNUSED_MAX_BYTES);
}

#[test]
fn refusal_has_the_origin_if_that_was_read() {
    let origin_of = |input: &str| {
        let mut unfinished = None;
        let mut unused = input.as_bytes();
        loop {
            match http::decode(&mut unfinished, unused, BODY_MAX) {
                Step::Used { input: Some(Input::Http(Err(refusal))), .. } => return refusal.origin,
                Step::Used { bytes, .. } => unused = &unused[bytes..],
                other => panic!("{other:?}"),
            }
        }
    };
    let page = Some("https://app.example".into());
    let long = "x".repeat(HEAD_MAX_BYTES);
    let many = "X: y\r\n".repeat(65);
    let chunked = "Transfer-Encoding: chunked\r\n";
    for (fields, body) in [
        ("Content-Length: 101\r\n", ""),
        ("Content-Length: x\r\n", ""),
        ("Transfer-Encoding: gzip, chunked\r\n", ""),
        ("Expect: x\r\n", ""),
        ("Host: twice\r\n", ""),
        ("Bad\r\n", ""),
        ("X: bare\nline feed\r\n", ""),
        (&format!("X: {long}\r\n"), ""),
        (&many, ""),
        (chunked, "x\r\n"),
        (chunked, "5\r\nhello\r\nff\r\n"),
        (chunked, "0\r\nBad\r\n\r\n"),
    ] {
        let fields = format!("Host: h\r\nOrigin:  https://app.example \r\n{fields}");
        assert_eq!(origin_of(&format!("POST / HTTP/1.1\r\n{fields}\r\n{body}")), page, "{fields}{body}");
    }
    let rows = [
        ("GET / HTTP/2.0\r\nHost: h\r\norigin:https://app.example\r\n\r\n".to_string(), page),
        ("BAD\r\nORIGIN: https://a\r\n\r\n".into(), Some("https://a".into())),
        ("BAD\r\n\r\nOrigin: https://a\r\n\r\n".into(), None),
        ("Origin: https://a\r\n\r\n".into(), None),
        ("BAD\r\nOriginal: https://a\r\n\r\n".into(), None),
        (format!("GET / HTTP/1.1\r\nX: {long}\r\nOrigin: https://a\r\n\r\n"), None),
        // An ambiguous origin counts as none.
        ("BAD\r\nOrigin: https://a\r\nOrigin: https://b\r\n\r\n".into(), Some("*".into())),
        ("BAD\r\nOrigin:\r\n\r\n".into(), Some("*".into())),
        ("BAD\r\nOrigin: a\u{e9}\r\n\r\n".into(), Some("*".into())),
    ];
    for (input, expected) in rows {
        assert_eq!(origin_of(&input), expected, "{input:.60}");
    }
}

/// Chunks of a random body, with extensions.
fn chunks() -> impl Strategy<Value = (String, String)> {
    vec(("[a-z\r\n0;]{1,9}", "(;[a-z]{0,3}(=\"[a-z ]*\")?)?", 0_usize..3), 0..9).prop_map(|chunks| {
        let body = chunks.iter().map(|(data, ..)| data.as_str()).collect();
        let encoded = chunks.iter().map(|(data, extension, zeros)| {
            format!("{}{:X}{extension}\r\n{data}\r\n", "0".repeat(*zeros), data.len())
        });
        (encoded.collect(), body)
    })
}

#[test]
fn any_body_is_the_same_however_it_is_chunked_and_cut() {
    check_random(1_000, &(chunks(), 1_usize..40), |((chunks, body), piece)| {
        let input = format!("{HEAD}{chunks}0\r\n\r\n{NEXT}");
        let expected = [post(&body), get("/next")];
        assert_eq!(decode([input.as_bytes()]), expected);
        assert_eq!(decode(input.as_bytes().chunks(piece)), expected);
    });
}
