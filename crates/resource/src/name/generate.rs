//! Making up an id for a resource that is created without one.

/// Most words of the display name that are kept.
const WORDS_MAX: usize = 5;
/// Most characters of the readable part, its last `-` included.
const READABLE_CHARS_MAX: usize = 24;
/// Most characters of the whole id.
const ID_CHARS_MAX: usize = 30;
/// Random characters at the end: at least, and at most where there is room.
const TAIL_CHARS: (usize, usize) = (6, 10);
/// Random characters when there is nothing readable to put before them.
const BARE_TAIL_CHARS: usize = 16;
/// Digits and letters without `l`, which reads like `1`.
const ALPHABET: &[u8] = b"0123456789abcdefghijkmnopqrstuvwxyz";
/// Where the letters begin in [`ALPHABET`].
const LETTERS_FROM: usize = 10;

/// An id like `front-door-k3v9x2hq7c`: words of the display name, then a random tail; it fits RFC 1034.
///
/// `random` fills what it is given with random bytes; two calls with other bytes give other ids.
pub fn generate_id(display_name: &str, random: &mut dyn FnMut(&mut [u8])) -> String {
    let mut id = readable(display_name);
    let tail = match id.len() {
        0 => BARE_TAIL_CHARS,
        len => (ID_CHARS_MAX - len).clamp(TAIL_CHARS.0, TAIL_CHARS.1),
    };
    id.push(random_char(&ALPHABET[LETTERS_FROM..], random));
    for _ in 1..tail {
        id.push(random_char(ALPHABET, random));
    }
    id
}

/// Words of the display name, each followed by `-`; empty if there are none.
fn readable(display_name: &str) -> String {
    let lower = display_name.to_ascii_lowercase();
    let words = lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let joined = words.take(WORDS_MAX).collect::<Vec<_>>().join("-");
    let from_letter = joined.trim_start_matches(|c: char| !c.is_ascii_lowercase());
    let mut kept: String = from_letter.chars().take(READABLE_CHARS_MAX - 1).collect();
    kept.truncate(kept.trim_end_matches('-').len());
    if !kept.is_empty() {
        kept.push('-');
    }
    kept
}

/// One character of `alphabet`, each equally likely.
fn random_char(alphabet: &[u8], random: &mut dyn FnMut(&mut [u8])) -> char {
    // Four bytes make the bias of the remainder too small to matter (under one in a hundred million).
    let mut bytes = [0u8; 4];
    random(&mut bytes);
    let index = u32::from_le_bytes(bytes) as usize % alphabet.len();
    char::from(alphabet[index])
}
