//! Recognizes forms of the same verb: "call" and "calling", "buy" and "bought".

/// Irregular forms: the base form, then the others.
const IRREGULAR: &[&[&str]] = &[
    &["begin", "began", "begun"],
    &["bring", "brought"],
    &["build", "built"],
    &["buy", "bought"],
    &["choose", "chose", "chosen"],
    &["do", "did", "done"],
    &["draw", "drew", "drawn"],
    &["drink", "drank", "drunk"],
    &["drive", "drove", "driven"],
    &["eat", "ate", "eaten"],
    &["feed", "fed"],
    &["find", "found"],
    &["get", "got", "gotten"],
    &["give", "gave", "given"],
    &["go", "went", "gone"],
    &["hang", "hung"],
    &["hold", "held"],
    &["keep", "kept"],
    &["leave", "left"],
    &["lend", "lent"],
    &["make", "made"],
    &["meet", "met"],
    &["pay", "paid"],
    &["ride", "rode", "ridden"],
    &["ring", "rang", "rung"],
    &["run", "ran"],
    &["see", "saw", "seen"],
    &["sell", "sold"],
    &["send", "sent"],
    &["sing", "sang", "sung"],
    &["sleep", "slept"],
    &["speak", "spoke", "spoken"],
    &["spend", "spent"],
    &["sweep", "swept"],
    &["swim", "swam", "swum"],
    &["take", "took", "taken"],
    &["teach", "taught"],
    &["tell", "told"],
    &["think", "thought"],
    &["throw", "threw", "thrown"],
    &["wear", "wore", "worn"],
    &["write", "wrote", "written"],
];

/// Whether two lower-case words can be forms of the same verb.
pub(crate) fn have_same_root(one: &str, other: &str) -> bool {
    let roots = roots(one);
    self::roots(other).iter().any(|root| roots.contains(root))
}

/// The base forms that `word` can have.
fn roots(word: &str) -> Vec<String> {
    let mut roots = vec![word.to_owned()];
    for suffix in ["ing", "ed", "es", "s"] {
        let Some(stem) = word.strip_suffix(suffix).filter(|stem| stem.len() > 1) else {
            continue;
        };
        roots.push(stem.to_owned());
        if suffix == "s" {
            continue;
        }
        // "writing" from "write", "running" from "run", "tidied" from "tidy".
        roots.push(format!("{stem}e"));
        let mut letters = stem.chars().rev();
        if let (Some(last), Some(previous)) = (letters.next(), letters.next())
            && last == previous
        {
            roots.push(letters.rev().chain([previous]).collect());
        }
        roots.extend(stem.strip_suffix('i').map(|stem| format!("{stem}y")));
    }
    let irregular = IRREGULAR.iter().filter(|forms| forms.contains(&word));
    roots.extend(
        irregular
            .filter_map(|forms| forms.first())
            .map(|base| (*base).to_owned()),
    );
    roots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognizes_forms_of_a_verb() {
        for (one, other) in [
            ("call", "calling"),
            ("called", "calls"),
            ("write", "writing"),
            ("run", "running"),
            ("tidy", "tidied"),
            ("wash", "washes"),
            ("buy", "bought"),
            ("paying", "paid"),
        ] {
            assert!(have_same_root(one, other), "{one} {other}");
        }
        for (one, other) in [
            ("call", "ball"),
            ("ring", "r"),
            ("bring", "ring"),
            ("sing", "string"),
            ("bed", "b"),
        ] {
            assert!(!have_same_root(one, other), "{one} {other}");
        }
    }
}
