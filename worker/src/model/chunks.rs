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

/// What ends a stream.
const DONE: &str = "[DONE]";
/// The kind of event by which a server says that it is still there.
const KEEP_ALIVE: &str = "keepalive";

/// The chunks of an answer, to its end or its first fault.
pub(super) fn chunks<E>(
    bytes: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
) -> BoxStream<'static, Result<Chunk, ModelFault>>
where
    E: Into<ModelFault> + 'static,
{
    let mut read = Read::default();
    bytes
        .map(move |bytes| {
            let bytes = bytes.map_err(Into::into)?;
            read.take(&bytes)?;
            Ok(bytes)
        })
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
    /// Counts more of them.
    ///
    /// # Errors
    /// If that is too much.
    fn take(&mut self, bytes: &[u8]) -> Result<(), ModelFault> {
        self.all += bytes.len();
        self.line = match bytes.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => bytes.len() - end,
            None => self.line + bytes.len(),
        };
        if self.all > STREAM_MAX || self.line > LINE_MAX {
            return Err(ModelFault::TooLarge);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, TryStreamExt, stream};

    use super::*;

    type Taken = Result<Vec<Option<String>>, ModelFault>;

    /// What comes of these bytes, each a piece of its own: the models that the chunks name.
    fn taken(pieces: impl IntoIterator<Item = &'static [u8]>) -> Taken {
        let pieces: Vec<_> = pieces
            .into_iter()
            .map(|piece| Ok::<_, ModelFault>(Bytes::from_static(piece)))
            .collect();
        let chunks = chunks(stream::iter(pieces));
        chunks
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
        let pieces: [&[u8]; 5] = [
            b"data: {\"model\":\"a\"}\n\nda",
            b"ta: {\"mod",
            b"el\":\"b\"}\r\n\r\n: a comment\n\nevent: keepalive\ndata: {}\n\n",
            b"data: {\"model\":\"\xc3",
            b"\xa9\"}\n\ndata: [DONE]\n\ndata: {\"model\":\"c\"}\n\n",
        ];
        assert_eq!(taken(pieces).unwrap(), models(&["a", "b", "\u{e9}"]));
        let cut: [&[u8]; 1] = [b"data: {\"model\":\"a\"}\n\ndata: {\"model\":\"b\"}"];
        assert_eq!(
            taken(cut).unwrap(),
            models(&["a"]),
            "an event that did not end is none"
        );
    }

    /// Whether so many equal pieces are taken.
    fn takes(piece: &[u8], pieces: usize) -> bool {
        let mut read = Read::default();
        (0..pieces).all(|_| read.take(piece).is_ok())
    }

    #[test]
    fn a_stream_is_cut_where_it_or_one_of_its_lines_is_too_large() {
        let word = [b'x'; 1024];
        let mut lines = word;
        lines[500] = b'\n';
        assert!(takes(&lines, STREAM_MAX / 1024));
        assert!(!takes(&lines, STREAM_MAX / 1024 + 1));
        assert!(takes(&word, LINE_MAX / 1024));
        assert!(!takes(&word, LINE_MAX / 1024 + 1));
    }
}
