//! Parses server-sent events from the bytes of a response, however they are divided.

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// The `event` field.
    pub event: String,
    /// The `id` field.
    pub id: String,
    /// The `data` lines, joined by line breaks.
    pub data: String,
}

/// Bytes that have arrived and not yet made an event.
#[derive(Debug, Default)]
pub(super) struct EventParser {
    bytes: Vec<u8>,
}

impl EventParser {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next complete event. Comments, which keep a connection alive, are skipped.
    pub(super) fn next(&mut self) -> Option<Event> {
        loop {
            let end = self.bytes.windows(2).position(|two| two == b"\n\n")?;
            let block: Vec<u8> = self.bytes.drain(..end + 2).collect();
            if let Some(event) = parse(&String::from_utf8_lossy(&block)) {
                return Some(event);
            }
        }
    }
}

fn parse(block: &str) -> Option<Event> {
    let mut event = Event::default();
    let mut data: Option<String> = None;
    for line in block.lines() {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => value.clone_into(&mut event.event),
            "id" => value.clone_into(&mut event.id),
            "data" => match &mut data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => data = Some(value.to_owned()),
            },
            _ => {}
        }
    }
    event.data = data?;
    Some(event)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_parsed_however_their_bytes_are_divided() {
        let text = ": keep-alive\n\nevent: run.queued\nid: 1\ndata: {\"a\":\ndata: 1}\n\nevent: x\nid: 2\ndata:y\n\n";
        let expected = [
            Event {
                event: "run.queued".to_owned(),
                id: "1".to_owned(),
                data: "{\"a\":\n1}".to_owned(),
            },
            Event {
                event: "x".to_owned(),
                id: "2".to_owned(),
                data: "y".to_owned(),
            },
        ];
        for size in [1, 7, text.len()] {
            let mut parser = EventParser::default();
            let mut events = Vec::new();
            for bytes in text.as_bytes().chunks(size) {
                parser.push(bytes);
                events.extend(std::iter::from_fn(|| parser.next()));
            }
            assert_eq!(events, expected);
        }
    }
}
