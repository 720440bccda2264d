//! The words that the host and the VM's PID 1 exchange over one virtio-serial port.
//!
//! One port carries everything, so that order is kept: when `Exit` arrives, every
//! byte the command wrote before it has arrived too. The port can be opened only
//! once, and PID 1 holds it, so no program in the VM can forge an exit code.

use std::io::{self, ErrorKind, Write};

/// The name of the port in the VM, and of its device below `/sys/class/virtio-ports`.
pub(crate) const PORT_NAME: &str = "agentguard.lab";

/// Longest payload of one frame; longer data is sent in several.
const MAX_PAYLOAD: usize = 32 * 1024;

/// One message. The upper half is sent by the VM, the lower half by the host.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// The VM is up; the command is about to start.
    Ready,
    /// Bytes of the command's standard output (or of its terminal).
    Out(Vec<u8>),
    /// Bytes of the command's standard error.
    Err(Vec<u8>),
    /// Something in the VM's own set-up that is worth a line to the person.
    Note(String),
    /// The VM could not be set up, and why.
    Broken(String),
    /// The command ended with this exit code.
    Exit(i32),
    /// Bytes typed at the terminal.
    Input(Vec<u8>),
    /// The terminal's size changed: rows, columns.
    Size(u16, u16),
}

impl Frame {
    fn parts(&self) -> (u8, Vec<u8>) {
        match self {
            Self::Ready => (1, Vec::new()),
            Self::Out(data) => (2, data.clone()),
            Self::Err(data) => (3, data.clone()),
            Self::Note(text) => (4, text.clone().into_bytes()),
            Self::Broken(text) => (5, text.clone().into_bytes()),
            Self::Exit(code) => (6, code.to_le_bytes().to_vec()),
            Self::Input(data) => (7, data.clone()),
            Self::Size(rows, cols) => (8, [rows.to_le_bytes(), cols.to_le_bytes()].concat()),
        }
    }

    fn from_parts(kind: u8, data: &[u8]) -> Option<Self> {
        let text = || String::from_utf8_lossy(data).into_owned();
        Some(match kind {
            1 => Self::Ready,
            2 => Self::Out(data.to_vec()),
            3 => Self::Err(data.to_vec()),
            4 => Self::Note(text()),
            5 => Self::Broken(text()),
            6 => Self::Exit(i32::from_le_bytes(data.try_into().ok()?)),
            7 => Self::Input(data.to_vec()),
            8 => match *data {
                [r0, r1, c0, c1] => {
                    Self::Size(u16::from_le_bytes([r0, r1]), u16::from_le_bytes([c0, c1]))
                }
                _ => return None,
            },
            _ => return None,
        })
    }

    /// Writes the frame: kind, length, payload.
    pub(crate) fn send(&self, to: &mut impl Write) -> io::Result<()> {
        let (kind, data) = self.parts();
        let length = u32::try_from(data.len())
            .map_err(|_| io::Error::new(ErrorKind::InvalidInput, "frame too long"))?;
        let mut bytes = Vec::with_capacity(data.len() + 5);
        bytes.push(kind);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&data);
        to.write_all(&bytes)
    }
}

/// Puts frames together from a byte stream that arrives in arbitrary pieces.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    pending: Vec<u8>,
}

impl Decoder {
    /// Takes in what arrived.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// The next complete frame, if there is one.
    pub(crate) fn next_frame(&mut self) -> io::Result<Option<Frame>> {
        let Some((head, rest)) = self.pending.split_at_checked(5) else { return Ok(None) };
        let &[kind, l0, l1, l2, l3] = head else { return Ok(None) };
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if length > MAX_PAYLOAD * 2 {
            return Err(io::Error::new(ErrorKind::InvalidData, "a frame of impossible length"));
        }
        let Some(data) = rest.get(..length) else { return Ok(None) };
        let frame = Frame::from_parts(kind, data)
            .ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "a frame of unknown kind"))?;
        self.pending.drain(..5 + length);
        Ok(Some(frame))
    }
}

/// A buffer of the size one frame can carry.
pub(crate) fn buffer() -> Vec<u8> {
    vec![0; MAX_PAYLOAD]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_any_cutting() {
        let frames = [
            Frame::Ready,
            Frame::Out(b"a\0b\r\n".to_vec()),
            Frame::Err(Vec::new()),
            Frame::Size(24, 80),
            Frame::Exit(-3),
        ];
        let mut bytes = Vec::new();
        for frame in &frames {
            frame.send(&mut bytes).unwrap();
        }
        for step in 1..bytes.len() {
            let mut decoder = Decoder::default();
            let mut seen = Vec::new();
            for piece in bytes.chunks(step) {
                decoder.push(piece);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    seen.push(frame);
                }
            }
            assert_eq!(seen, frames, "cut every {step} bytes");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let mut decoder = Decoder::default();
        decoder.push(&[99, 0, 0, 0, 0]);
        assert!(decoder.next_frame().is_err());
    }
}
