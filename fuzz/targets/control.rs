//! Any bytes on the control socket: a request that is read alike whole and in pieces, or an error.

use logknock::protocol::{
    MAX_REPLY, MAX_REQUEST, Reply, Request, decode_frame, encode_frame, read_frame,
};

pub(crate) fn run(data: &[u8]) {
    let read = read_frame::<Request>(&mut &*data, MAX_REQUEST).ok();
    let decoded = decode_frame::<Request>(data, MAX_REQUEST);
    assert_eq!(decoded.ok().flatten(), read);
    if let Some(request) = read {
        let frame = encode_frame(&request, MAX_REQUEST).unwrap_or_default();
        let again = decode_frame(&frame, MAX_REQUEST).ok().flatten();
        assert_eq!(again, Some(request));
    }
    if let Ok(Some(reply)) = decode_frame::<Reply>(data, MAX_REPLY) {
        let frame = encode_frame(&reply, MAX_REPLY * 2).unwrap_or_default();
        assert!(!frame.is_empty(), "{reply:?}");
    }
}
