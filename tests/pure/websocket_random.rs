//! WebSocket at random: any message in any frames, any garbage, and one decoder for several connections.

use chinwag::codec::websocket::Decoder;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::frames::{
    BINARY, CONTINUATION, Decoded, FIN, PING, PONG, Peer, TEXT, close, decode, frame, frame_masked, header,
};
use crate::random::{check, raw_text};

const MAX: usize = 512;

/// Splits `input` at `cuts`.
fn pieces<'a>(input: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
    cuts.extend([0, input.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|ends| &input[ends[0]..ends[1]]).collect()
}

/// A message in random frames, some with pings between them, and its decoded form.
fn message() -> impl Strategy<Value = (Vec<u8>, Vec<Decoded>)> {
    let text = raw_text().prop_map(Decoded::Text);
    let binary = vec(any::<u8>(), 0..300).prop_map(Decoded::Binary);
    let cuts = vec((any::<Index>(), any::<[u8; 4]>(), any::<bool>()), 0..5);
    (prop_oneof![text, binary], cuts).prop_map(|(said, cuts)| {
        let (opcode, payload) = match &said {
            Decoded::Text(text) => (TEXT, text.as_bytes()),
            Decoded::Binary(bytes) => (BINARY, &bytes[..]),
            other => unreachable!("{other:?}"),
        };
        let places: Vec<_> = cuts.iter().map(|(cut, ..)| *cut).collect();
        let parts = pieces(payload, &places);
        let (mut bytes, mut decoded) = (Vec::new(), Vec::new());
        for (number, part) in parts.iter().enumerate() {
            let opcode = if number == 0 { opcode } else { CONTINUATION };
            let fin = if number + 1 == parts.len() { FIN } else { 0 };
            let (mask, asks) = cuts.get(number).map_or(([0; 4], false), |(_, mask, asks)| (*mask, *asks));
            bytes.extend(frame_masked(fin | opcode, part, mask));
            if asks && fin == 0 {
                bytes.extend([frame(PING, mask), frame(PONG, mask)].concat());
                decoded.push(Decoded::Ping(mask.to_vec()));
            }
        }
        decoded.push(said);
        (bytes, decoded)
    })
}

/// Several messages, and their decoded form.
fn messages() -> impl Strategy<Value = (Vec<u8>, Vec<Decoded>)> {
    vec(message(), 0..5).prop_map(|messages| {
        let (bytes, decoded): (Vec<_>, Vec<_>) = messages.into_iter().unzip();
        (bytes.concat(), decoded.concat())
    })
}

/// Bytes rich in frames, good and bad.
fn garbage() -> impl Strategy<Value = Vec<u8>> {
    let any_frame =
        (any::<u8>(), vec(any::<u8>(), 0..140)).prop_map(|(first, payload)| frame(first, payload));
    let good = select(vec![FIN | TEXT, FIN | BINARY, TEXT, CONTINUATION, FIN | CONTINUATION, PING, PONG]);
    let good = (good, raw_text()).prop_map(|(first, payload)| frame(first, payload));
    let bare_header = (any::<u8>(), any::<u64>(), select(vec![0, 2, 8]))
        .prop_map(|(first, length, bytes)| header(first, length & 0x7f, bytes));
    let closes =
        (any::<u16>(), raw_text()).prop_map(|(code, reason)| close(code, reason.get(..9).unwrap_or("")));
    let piece = prop_oneof![
        6 => good,
        1 => any_frame,
        1 => bare_header,
        1 => closes,
        1 => vec(any::<u8>(), 0..9),
    ];
    vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

#[test]
fn any_message_in_any_frames_and_pieces_is_decoded() {
    check(1_000, &(messages(), vec(any::<Index>(), 0..9)), |((bytes, said), cuts)| {
        let (mut decoder, mut peer) = (Decoder::new(MAX), Peer::default());
        pieces(&bytes, &cuts).into_iter().for_each(|piece| peer.read(&mut decoder, MAX, piece));
        assert_eq!(peer.decoded, said);
        assert!(peer.is_idle());
        assert_eq!(decode(MAX, bytes.chunks(1)), said, "byte by byte");
    });
}

// `frames::Peer` checks on the way that decoding makes progress, consumes no more than there is and leaves little.
#[test]
fn cuts_change_nothing_for_any_input() {
    check(3_000, &(garbage(), vec(any::<Index>(), 0..9)), |(bytes, cuts)| {
        let whole = decode(MAX, [&bytes[..]]);
        assert_eq!(decode(MAX, pieces(&bytes, &cuts)), whole, "cut somewhere");
        assert_eq!(decode(MAX, bytes.chunks(1)), whole, "byte by byte");
    });
}

#[test]
fn connections_that_share_a_decoder_do_not_affect_each_other() {
    let input = || prop_oneof![1 => messages().prop_map(|(bytes, _)| bytes), 1 => garbage()];
    let turns = vec((0..3_usize, 1..40_usize), 0..60);
    check(1_500, &([input(), input(), input()], turns), |(inputs, turns)| {
        let mut decoder = Decoder::new(MAX);
        let mut peers = [(); 3].map(|()| Peer::default());
        let mut rests = inputs.each_ref().map(|input| &input[..]);
        let last = (0..3).map(|who| (who, usize::MAX));
        for (who, bytes) in turns.into_iter().chain(last) {
            let (piece, rest) = rests[who].split_at(bytes.min(rests[who].len()));
            rests[who] = rest;
            peers[who].read(&mut decoder, MAX, piece);
        }
        for (peer, input) in peers.iter().zip(&inputs) {
            assert_eq!(peer.decoded, decode(MAX, [&input[..]]));
        }
    });
}
