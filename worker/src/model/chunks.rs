//! The stream of an answer, read by who uses it, within bounds: no task and no queue stand between.

use std::future::ready;

use axum::body::Bytes;
use eventsource_stream::{Event, EventStreamError, Eventsource};
use futures::{Stream, StreamExt, stream::BoxStream};

use super::{
    fault::{ModelFault, line},
    wire::Chunk,
};

/// Bytes of a stream that are read: sixteen times what an answer may hold, because each word comes in an event of its
/// own.
const STREAM_MAX: usize = 16 * 1024 * 1024;
/// Bytes of one line of it: twice what an answer may hold. A line is searched for its end each time that more of it comes.
const LINE_MAX: usize = 2 * 1024 * 1024;

/// What a stream may begin with. It is taken away here, because eventsource-stream 0.2.3 panics where it does so itself.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// What ends a stream.
const DONE: &str = "[DONE]";
/// The kind of event by which a server says that it is still there.
const KEEP_ALIVE: &str = "keepalive";

/// The chunks of an answer to its end. After a fault nothing that follows means anything.
pub(super) fn chunks<E>(
    bytes: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
) -> BoxStream<'static, Result<Chunk, ModelFault>>
where
    E: Into<ModelFault> + 'static,
{
    let mut read = Read::default();
    bytes
        .map(move |bytes| read.take(&bytes.map_err(Into::into)?))
        .eventsource()
        .take_while(|event| ready(!event.as_ref().is_ok_and(|event| event.data == DONE)))
        .filter(|event| ready(!event.as_ref().is_ok_and(|event| event.event == KEEP_ALIVE)))
        .map(chunk)
        .boxed()
}

fn chunk(event: Result<Event, EventStreamError<ModelFault>>) -> Result<Chunk, ModelFault> {
    let malformed = |error: &dyn std::fmt::Display| ModelFault::Malformed(line(&error.to_string()));
    match event {
        Ok(event) => serde_json::from_str(&event.data).map_err(|error| malformed(&error)),
        Err(EventStreamError::Transport(fault)) => Err(fault),
        Err(error) => Err(malformed(&error)),
    }
}

/// Bytes of a stream that have been read.
#[derive(Debug, Default)]
struct Read {
    all: usize,
    /// Of the last line.
    line: usize,
}

impl Read {
    /// Counts more of them and gives them on, without a mark at the very beginning.
    ///
    /// # Errors
    /// If that is too much.
    fn take(&mut self, bytes: &Bytes) -> Result<Bytes, ModelFault> {
        let mark = BYTE_ORDER_MARK.iter().skip(self.all);
        let mark = mark.zip(bytes).take_while(|(mark, byte)| mark == byte).count();
        self.all += bytes.len();
        self.line = match bytes.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => bytes.len() - end,
            None => self.line + bytes.len(),
        };
        if self.all > STREAM_MAX || self.line > LINE_MAX {
            return Err(ModelFault::TooLarge);
        }
        Ok(bytes.slice(mark..))
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, TryStreamExt, stream};

    use super::*;

    type Taken = Result<Vec<Option<String>>, ModelFault>;

    /// What comes of these pieces: the models that the chunks name.
    fn taken(pieces: impl IntoIterator<Item = Result<&'static [u8], ModelFault>>) -> Taken {
        let pieces: Vec<_> = pieces
            .into_iter()
            .map(|piece| piece.map(Bytes::from_static))
            .collect();
        chunks(stream::iter(pieces))
            .map_ok(|chunk| chunk.model)
            .try_collect()
            .now_or_never()
            .unwrap()
    }

    fn models(names: &[&str]) -> Vec<Option<String>> {
        names.iter().map(|name| Some((*name).to_owned())).collect()
    }

    #[test]
    fn events_are_chunks_wherever_they_are_cut_and_until_the_end_is_said() {
        let text = "\u{feff}data: {\"model\":\"a\"}\n\ndata: {\"model\":\"b\"}\r\n\r\n: a comment\n\nevent: keepalive\ndata: {}\n\n\
            data: {\"model\":\"\u{e9}\"}\r\rdata: [DONE]\n\ndata: {\"model\":\"c\"}\n\n";
        for length in 1..=text.len() {
            let models_taken = taken(text.as_bytes().chunks(length).map(Ok)).unwrap();
            assert_eq!(
                models_taken,
                models(&["a", "b", "\u{e9}"]),
                "in pieces of {length}"
            );
        }
        let cut = b"data: {\"model\":\"a\"}\n\ndata: {\"model\":\"b\"}";
        assert_eq!(
            taken([Ok(&cut[..])]).unwrap(),
            models(&["a"]),
            "an event that did not end is none"
        );
    }

    #[test]
    fn faults_are_told_as_what_they_are() {
        let broken = Err(ModelFault::Connection("broken".to_owned()));
        let told = taken([Ok(&b"data: {}\n\n"[..]), broken]);
        assert!(matches!(told, Err(ModelFault::Connection(what)) if what == "broken"));
        let told = taken([Ok(&b"data: \xff\n\n"[..])]);
        assert!(matches!(told, Err(ModelFault::Malformed(_))));
    }

    /// Whether all of these pieces are taken.
    fn takes(pieces: impl IntoIterator<Item = &'static [u8]>) -> bool {
        let mut read = Read::default();
        pieces
            .into_iter()
            .all(|piece| read.take(&Bytes::from_static(piece)).is_ok())
    }

    #[test]
    fn a_stream_is_cut_where_it_or_one_of_its_lines_is_too_large() {
        const KIB: usize = 1024;
        static WORD: [u8; KIB] = [b'x'; KIB];
        static LINES: [u8; KIB] = {
            let mut lines = WORD;
            lines[KIB / 2] = b'\n';
            lines
        };
        let many = |piece: &'static [u8], pieces| std::iter::repeat_n(piece, pieces);
        assert!(takes(many(&LINES, STREAM_MAX / KIB)));
        assert!(!takes(many(&LINES, STREAM_MAX / KIB + 1)));
        assert!(takes(many(&WORD, LINE_MAX / KIB)));
        assert!(!takes(many(&WORD, LINE_MAX / KIB + 1)));
        let after_half_a_line = |pieces| many(&LINES, 1).chain(many(&WORD, pieces));
        assert!(takes(after_half_a_line(LINE_MAX / KIB - 1)));
        assert!(!takes(after_half_a_line(LINE_MAX / KIB)));
    }
}
