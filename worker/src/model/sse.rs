//! Splits the body of a response into server-sent events.
//!
//! It accepts what providers really send: CR, LF and CRLF, a byte order mark, comments, fields without a space after the colon,
//! errors as lines `error: {…}`, and a last event without the empty line after it. It does not know what the data means.

use super::ModelError;

/// At most this many bytes of a body are read. It is sixteen times the limit of an answer, because each word arrives in its own
/// event.
const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;
/// At most this many bytes without a line break: twice the limit of an answer.
const MAX_LINE_BYTES: usize = 2 * 1024 * 1024;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// An event.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Event<'a> {
    /// Whether the event reports an error: its type, or the name of its field, is `error`.
    pub(super) is_error: bool,
    /// Its data. Several lines are joined by line feeds.
    pub(super) data: &'a [u8],
}

/// Reads a body piece by piece.
#[derive(Debug, Default)]
pub(super) struct EventReader {
    /// The bytes that have not been read, after those that have been.
    buffer: Vec<u8>,
    /// The start of the current line in `buffer`.
    line: usize,
    /// The part of the current line that contains no line break.
    scanned: usize,
    total: usize,
    is_started: bool,
    /// The last line ended with CR: an LF that follows belongs to it.
    skip_lf: bool,
    event: PartialEvent,
}

/// The lines of the current event.
#[derive(Debug, Default)]
struct PartialEvent {
    data: Vec<u8>,
    has_data: bool,
    is_error: bool,
    /// It has been returned, and the next line starts another event.
    is_returned: bool,
}

impl EventReader {
    /// Adds the next piece of the body.
    ///
    /// # Errors
    /// [`ModelError::TooLarge`].
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), ModelError> {
        self.total += bytes.len();
        self.buffer.drain(..self.line);
        self.scanned -= self.line;
        self.line = 0;
        self.buffer.extend_from_slice(bytes);
        if self.total > MAX_BODY_BYTES {
            return Err(ModelError::TooLarge);
        }
        Ok(())
    }

    /// The bytes that have been pushed and not been read as events, without a byte order mark.
    pub(super) fn unread(&mut self) -> &[u8] {
        self.skip_mark();
        if !self.is_started {
            return &[];
        }
        self.buffer.get(self.line..).unwrap_or_default()
    }

    /// The next complete event. `None` if more of the body is needed.
    ///
    /// # Errors
    /// [`ModelError::TooLarge`].
    pub(super) fn next(&mut self) -> Result<Option<Event<'_>>, ModelError> {
        self.skip_mark();
        loop {
            self.forget_returned();
            let Some(end) = self.line_end() else {
                self.scanned = self.buffer.len();
                return if self.scanned - self.line > MAX_LINE_BYTES {
                    Err(ModelError::TooLarge)
                } else {
                    Ok(None)
                };
            };
            let start = std::mem::replace(&mut self.line, end + 1);
            self.scanned = self.line;
            let is_lf = self.buffer.get(end) == Some(&b'\n');
            if is_lf && start == end && self.skip_lf {
                self.skip_lf = false;
                continue;
            }
            self.skip_lf = !is_lf;
            if start == end {
                if self.event.has_data {
                    return Ok(Some(self.take_event()));
                }
                self.event.is_error = false;
            } else if self.read_line(start, end) {
                return Ok(Some(self.take_event()));
            }
        }
    }

    /// The last event, if the body ended without the empty line after it. Its data may be incomplete.
    pub(super) fn finish(&mut self) -> Option<Event<'_>> {
        self.forget_returned();
        let (start, end) = (self.line, self.buffer.len());
        self.line = end;
        self.scanned = end;
        if start < end {
            self.read_line(start, end);
        }
        self.event.has_data.then(|| self.take_event())
    }

    fn skip_mark(&mut self) {
        if self.is_started || self.buffer.is_empty() {
            return;
        }
        if self.buffer.len() < BYTE_ORDER_MARK.len() && BYTE_ORDER_MARK.starts_with(&self.buffer) {
            return;
        }
        self.is_started = true;
        if self.buffer.starts_with(BYTE_ORDER_MARK) {
            self.line = BYTE_ORDER_MARK.len();
            self.scanned = self.line;
        }
    }

    fn line_end(&self) -> Option<usize> {
        let unscanned = self.buffer.get(self.scanned..)?;
        let end = unscanned.iter().position(|byte| matches!(byte, b'\n' | b'\r'))?;
        Some(self.scanned + end)
    }

    fn take_event(&mut self) -> Event<'_> {
        self.event.is_returned = true;
        Event {
            is_error: self.event.is_error,
            data: &self.event.data,
        }
    }

    fn forget_returned(&mut self) {
        if std::mem::take(&mut self.event.is_returned) {
            self.event.data.clear();
            self.event.has_data = false;
            self.event.is_error = false;
        }
    }

    /// Reads a line and returns whether it is an event by itself: a line `error: {…}` is.
    fn read_line(&mut self, start: usize, end: usize) -> bool {
        let line = self.buffer.get(start..end).unwrap_or_default();
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (name, value) = line.split_at(colon);
        let value = value.strip_prefix(b":").unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"data" => {
                if self.event.has_data {
                    self.event.data.push(b'\n');
                }
                self.event.data.extend_from_slice(value);
                self.event.has_data = true;
            }
            b"event" => self.event.is_error |= value == b"error",
            b"error" => {
                self.event.data.clear();
                self.event.data.extend_from_slice(value);
                self.event.has_data = true;
                self.event.is_error = true;
                return true;
            }
            _ => {}
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Events = Vec<(bool, String)>;

    fn events<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Events, ModelError> {
        let mut reader = EventReader::default();
        let mut events = Vec::new();
        let text = |event: Event<'_>| (event.is_error, String::from_utf8_lossy(event.data).into_owned());
        for piece in pieces {
            reader.push(piece)?;
            while let Some(event) = reader.next()? {
                events.push(text(event));
            }
        }
        events.extend(reader.finish().map(text));
        Ok(events)
    }

    /// Asserts the events of a body, for every way to cut it into pieces of equal length.
    fn assert_events(body: &str, expected: &[(bool, &str)]) {
        let expected: Events = expected
            .iter()
            .map(|(is_error, data)| (*is_error, (*data).to_owned()))
            .collect();
        for length in 1..=body.len() {
            let events = events(body.as_bytes().chunks(length)).unwrap();
            assert_eq!(events, expected, "{body:?} in pieces of {length}");
        }
    }

    #[test]
    fn every_line_ending_separates_events() {
        for end in ["\n", "\r", "\r\n"] {
            let body = format!(
                "data: a{end}{end}data:b{end}data: c{end}{end}{end}: comment{end}{end}data: {end}{end}"
            );
            assert_events(&body, &[(false, "a"), (false, "b\nc"), (false, "")]);
        }
        assert_events(
            "data: a\r\rdata: \u{e9}\r\n\n",
            &[(false, "a"), (false, "\u{e9}")],
        );
    }

    #[test]
    fn byte_order_mark_is_skipped() {
        assert_events("\u{feff}data: a\n\n", &[(false, "a")]);
        assert_events("\u{feff}", &[]);
    }

    #[test]
    fn last_event_needs_no_empty_line() {
        assert_events("data: a\n\ndata: b", &[(false, "a"), (false, "b")]);
        assert_events("data: a\n\ndata: b\n", &[(false, "a"), (false, "b")]);
    }

    #[test]
    fn fields_other_than_data_are_ignored() {
        let body = "id: 1\nretry: 5\nevent: message\ndata: a\n\nevent: ping\n\nnonsense\n\ndata\n\n";
        assert_events(body, &[(false, "a"), (false, "")]);
    }

    #[test]
    fn errors_are_recognized_by_event_type_or_field() {
        assert_events(
            "event: error\ndata: {}\n\ndata: a\n\nerror: {1}\ndata: b\n\nevent: error\n\ndata: c\n\n",
            &[
                (true, "{}"),
                (false, "a"),
                (true, "{1}"),
                (false, "b"),
                (false, "c"),
            ],
        );
    }

    #[test]
    fn too_large_bodies_and_lines_are_rejected() {
        const KIB: usize = 1024;
        static WORD: [u8; KIB] = [b'x'; KIB];
        static LINES: [u8; KIB] = {
            let mut lines = WORD;
            lines[KIB / 2] = b'\n';
            lines
        };
        let fits = |pieces: &[(&'static [u8], usize)]| {
            let pieces = pieces
                .iter()
                .map(|(piece, count)| std::iter::repeat_n(*piece, *count));
            events(pieces.flatten()).is_ok()
        };
        assert!(fits(&[(&LINES, MAX_BODY_BYTES / KIB)]));
        assert!(!fits(&[(&LINES, MAX_BODY_BYTES / KIB + 1)]));
        assert!(fits(&[(&WORD, MAX_LINE_BYTES / KIB)]));
        assert!(!fits(&[(&WORD, MAX_LINE_BYTES / KIB + 1)]));
        assert!(fits(&[(&LINES, 1), (&WORD, MAX_LINE_BYTES / KIB - 1)]));
        assert!(!fits(&[(&LINES, 1), (&WORD, MAX_LINE_BYTES / KIB)]));
    }
}
