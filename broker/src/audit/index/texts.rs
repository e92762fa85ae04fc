//! The texts of a block in one piece: a block has thousands, and a search goes through all of them.

use symbolon_proto::codec::{DecodeError, Reader, Writer};

/// Texts of at most 255 bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    all: String,
    ends: Vec<usize>,
}

impl Texts {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// One after the other.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        let mut begin = 0;
        self.ends.iter().map(move |end| {
            let text = self.all.get(begin..*end).unwrap_or_default();
            begin = *end;
            text
        })
    }

    /// `shared(1) length(1) rest` of each: without the beginning that it shares with the one before. `None`
    /// if one is too long.
    pub(super) fn write(
        &self,
        out: &mut Writer,
        mut before_each: impl FnMut(&mut Writer, usize),
    ) -> Option<()> {
        let mut before: &[u8] = &[];
        for (place, text) in self.iter().enumerate() {
            let text = text.as_bytes();
            let shared = before.iter().zip(text).take_while(|(one, other)| one == other).count();
            let (_, rest) = text.split_at(shared);
            before_each(out, place);
            out.u8(u8::try_from(shared).ok()?).u8(u8::try_from(rest.len()).ok()?).bytes(rest);
            before = text;
        }
        Some(())
    }

    /// Reads `count` of them; `None` for what is no text.
    pub(super) fn read<'a>(
        reader: &mut Reader<'a>,
        count: usize,
        mut before_each: impl FnMut(&mut Reader<'a>) -> Result<(), DecodeError>,
    ) -> Result<Option<Self>, DecodeError> {
        let (mut all, mut ends, mut before) = (Vec::new(), Vec::with_capacity(count), 0..0);
        for _ in 0..count {
            before_each(reader)?;
            let (shared, length) = (usize::from(reader.u8()?), usize::from(reader.u8()?));
            if shared > before.len() {
                return Ok(None);
            }
            let begin = all.len();
            all.extend_from_within(before.start..before.start + shared);
            all.extend_from_slice(reader.take(length)?);
            before = begin..all.len();
            ends.push(all.len());
        }
        let Ok(all) = String::from_utf8(all) else { return Ok(None) };
        Ok(ends.iter().all(|end| all.is_char_boundary(*end)).then_some(Self { all, ends }))
    }
}

impl<'a> FromIterator<&'a str> for Texts {
    fn from_iter<I: IntoIterator<Item = &'a str>>(texts: I) -> Self {
        let mut all = Self::default();
        for text in texts {
            all.all.push_str(text);
            all.ends.push(all.all.len());
        }
        all
    }
}
