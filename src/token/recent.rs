//! Texts of tokens that come again and again. A client sends one token with all its requests, and to compare its text costs
//! a quarter of what its tag does.
//!
//! A few texts of each worker's are kept for it, and overwritten when others take their place or their token is forgotten.

use std::cell::{RefCell, RefMut};

use zeroize::{Zeroize as _, Zeroizing};

use super::cache::Tag;

/// The most texts.
const MAX_TEXTS: u64 = 64;
/// No larger text is kept, in bytes.
const MAX_SIZE: usize = 2 * 1024;

/// The texts that one worker keeps, each in one place of its own.
pub(super) struct RecentTexts(Box<[RefCell<Slot>]>);

/// Room for one text.
#[derive(Default)]
struct Slot {
    text: Zeroizing<Vec<u8>>,
    /// What tells it from most others.
    mark: u64,
    /// Its tag.
    tag: Option<Tag>,
    /// The tag of the last one that would have this room.
    last: Option<Tag>,
}

impl RecentTexts {
    /// Texts of at most so many bytes in all.
    pub(super) fn new(max_size: u64) -> Self {
        let count = (max_size / Self::SIZE).min(MAX_TEXTS);
        Self((0..count).map(|_| RefCell::default()).collect())
    }

    /// What one of them may take, in bytes.
    const SIZE: u64 = (MAX_SIZE + size_of::<RefCell<Slot>>()) as u64;

    /// How many bytes they may take.
    pub(super) fn max_size(&self) -> u64 {
        (self.0.len() as u64).saturating_mul(Self::SIZE)
    }

    /// The tag of a text: the one that was made of the same text before, or made now.
    pub(super) fn tag(&self, text: &[u8], make: impl FnOnce() -> Option<Tag>) -> Option<Tag> {
        let Some((mut slot, mark)) = self.slot(text) else { return make() };
        if slot.mark == mark && is_same(&slot.text, text) {
            slot.last = slot.tag;
            return slot.tag;
        }
        let tag = make()?;
        // Of many in turn, none is kept: to copy each would be in vain.
        if slot.last.replace(tag) == Some(tag) {
            slot.text.zeroize();
            slot.text.reserve_exact(text.len());
            slot.text.extend_from_slice(text);
            (slot.mark, slot.tag) = (mark, Some(tag));
        }
        Some(tag)
    }

    /// Overwrites the text of this tag, if it is kept.
    pub(super) fn forget(&self, tag: Tag) {
        for slot in &self.0 {
            let mut slot = slot.borrow_mut();
            if slot.tag == Some(tag) {
                *slot = Slot::default();
            }
        }
    }

    /// Where a text has its room, and its mark: eight characters of its signature, if it is a token.
    fn slot(&self, text: &[u8]) -> Option<(RefMut<'_, Slot>, u64)> {
        let (_, end) = text.split_last_chunk::<16>().filter(|_| text.len() <= MAX_SIZE)?;
        let mark = u64::from_le_bytes(*end.first_chunk()?);
        let place = usize::try_from(mark.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32).ok()?;
        let slot = self.0.get(place.checked_rem(self.0.len())?)?;
        Some((slot.borrow_mut(), mark))
    }
}

/// Looks at all of both, however early they differ: how long it takes tells nothing of a text that somebody else sent.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |differ, (one, other)| differ | (one ^ other)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: [u8; 848] = [b'a'; 848];

    /// Whether the tag of a text is made, and not one that was.
    fn makes(texts: &RecentTexts, text: &[u8]) -> bool {
        let sum = text.iter().fold(0_u128, |sum, byte| sum.wrapping_mul(257).wrapping_add(u128::from(*byte)));
        let (expected, mut is_made) = (Some(Tag(sum.to_le_bytes())), false);
        let tag = texts.tag(text, || {
            is_made = true;
            expected
        });
        assert!(tag == expected, "the tag of another text");
        is_made
    }

    #[test]
    fn a_text_that_comes_again_has_its_tag_and_no_other_text_has() {
        let texts = RecentTexts::new(1024 * 1024);
        assert_eq!([(); 5].map(|()| makes(&texts, &TEXT)), [true, true, false, false, false]);
        for at in 0..TEXT.len() {
            let mut changed = TEXT;
            changed[at] ^= 1;
            assert!(makes(&texts, &changed) && !makes(&texts, &TEXT), "byte {at}");
        }
        assert!(makes(&texts, &TEXT[..847]) && makes(&texts, &[b'a'; 849]) && !makes(&texts, &TEXT));
    }

    #[test]
    fn the_last_one_that_came_twice_is_kept() {
        let texts = RecentTexts::new(RecentTexts::SIZE);
        let other = [b'b'; 848];
        for _ in 0..10 {
            assert!(makes(&texts, &TEXT) && makes(&texts, &other), "one of two in turn was kept");
        }
        assert!(makes(&texts, &other) && !makes(&texts, &other));
        assert!(makes(&texts, &TEXT) && !makes(&texts, &other));
        assert!(makes(&texts, &TEXT) && makes(&texts, &TEXT) && !makes(&texts, &TEXT) && makes(&texts, &other));
    }

    #[test]
    fn what_is_too_large_or_too_small_is_not_kept() {
        let (texts, none) = (RecentTexts::new(1024 * 1024), RecentTexts::new(RecentTexts::SIZE - 1));
        let large = [b'a'; MAX_SIZE + 1];
        for _ in 0..4 {
            assert!(makes(&texts, &large) && makes(&texts, &large[..15]) && makes(&texts, b"") && makes(&none, &TEXT));
        }
        assert!(!(0..4).all(|_| makes(&texts, &large[..MAX_SIZE])));
    }

    #[test]
    fn a_text_whose_token_is_forgotten_is_kept_no_more() {
        let (texts, other) = (RecentTexts::new(1024 * 1024), [b'b'; 848]);
        for text in [TEXT, other, TEXT, TEXT, other, other] {
            makes(&texts, &text);
        }
        let tag = texts.tag(&TEXT, || panic!("it is kept")).unwrap();
        texts.forget(tag);
        assert!(makes(&texts, &TEXT) && !makes(&texts, &other));
        assert!(texts.0.iter().all(|slot| *slot.borrow().text != TEXT));
    }

    #[test]
    fn they_take_no_more_than_they_may() {
        for (max_size, count) in [(0, 0), (RecentTexts::SIZE * 3 + 1, 3), (u64::MAX, 64)] {
            let texts = RecentTexts::new(max_size);
            assert_eq!((texts.0.len(), texts.max_size()), (count, count as u64 * RecentTexts::SIZE));
        }
    }
}
