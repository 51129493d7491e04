//! The vocabulary of the rules, and the correction of typos in keywords.

use std::{collections::HashSet, sync::LazyLock};

/// Words of the set that patterns refer to as `$NAME`.
pub(crate) fn set(name: &str) -> impl Iterator<Item = &'static str> {
    let words = match name {
        "ADD" => ADD,
        "T" => NOUNS,
        "L" => LISTS,
        "LM" => LIST_KINDS,
        "D" => DETERMINERS,
        "SHOW" => SHOW,
        "VB" => VIEW_WORDS,
        "WH" => QUESTIONS,
        "DONE" => DONE,
        "OPEN" => OPEN,
        "NOTE" => NOTES,
        "DEL" => DELETE,
        "COMP" => COMPLETE,
        "REOPEN" => REOPEN,
        "CHANGE" => CHANGE,
        _ => "",
    };
    words.split_whitespace()
}

const ADD: &str = "add create make insert new enter register append start set write put log save record note need want open";
const NOUNS: &str =
    "task tasks todo todos item items reminder reminders entry entries thing things chore chores";
const LISTS: &str = "list lists todolist todo todos tasklist tasks agenda";
const LIST_KINDS: &str = "todo task tasks shopping grocery groceries work personal";
const DETERMINERS: &str = "a an the my another one this that new some me us more other following these those extra few \
    couple of two three four five six seven eight nine ten quick your our";
const SHOW: &str = "show list display view see get give print read check fetch pull bring tell open lookup";
const QUESTIONS: &str = "what whats which how do does have are is any anything got whatre was wheres where";
/// Words that may appear in any request to list tasks without changing its meaning.
const VIEW_WORDS: &str = "me us all of my the our any every everything current currently full whole entire a list lists out \
    up please i ive have has had got get need needs to do does did now on in that are is was were which still not \
    yet left remaining today tonight tomorrow this week for them they task tasks todo todos item items things thing \
    reminders reminder chores anything something stuff there so far many much again right at moment open pending active \
    incomplete uncompleted unfinished undone outstanding done completed finished complete closed with havent dont \
    supposed should can could you tell know more next and both status todolist agenda total saved your been already \
    progress isnt arent remain plate else what whats stuff ones must just only latest also too overview summary be by number numbers";
const DONE: &str = "done completed complete finished finish closed accomplished";
const OPEN: &str = "undone incomplete pending open active unfinished uncompleted todo unchecked outstanding";
const NOTES: &str =
    "note notes description desc descr descriptions detail details comment comments memo info";
const DELETE: &str =
    "delete remove erase drop discard trash scrap cancel kill bin clear ditch eliminate purge wipe del rm";
const COMPLETE: &str = "complete finish close tick check resolve accomplish";
const REOPEN: &str = "reopen uncomplete uncheck untick unmark restore reactivate unfinish uncross unresolve";
const CHANGE: &str = "change update edit modify set alter adjust correct fix amend revise";

/// Verbs with which titles on to-do lists start.
const VERBS: &str = "buy call pay walk clean wash email mail send write read finish fix book order pick drop take bring get \
    make cook bake prepare plan schedule arrange organize organise visit meet see check review submit file print \
    sign renew cancel return replace repair install update upgrade download upload backup study learn practice practise \
    train run jog swim exercise go attend join watch listen research find look search ask tell text message reply respond \
    answer contact phone ring invite thank remind feed water mow trim paint build assemble move pack unpack iron fold \
    vacuum sweep mop dust tidy declutter sort donate sell post ship deliver collect grab fetch shop refill charge change \
    draft edit proofread present discuss follow talk speak apply register enroll enrol enter complete do start begin \
    continue test deploy release merge debug refactor implement design draw create record measure weigh count compare \
    choose decide confirm verify close open lock empty fill throw recycle burn cut chop peel boil fry grill eat drink \
    sleep rest relax meditate stretch brush floss shave shower dress wear try use set put hang mount drill plug unplug \
    turn switch transfer deposit withdraw invest save budget claim vote donate volunteer play sing dance celebrate wrap \
    decorate plant weed harvest groom bathe pet adopt drive park rent lease hire interview onboard delete remove add";

/// Correct words that resemble misspelled keywords. They are never corrected.
const NOT_TYPOS: &str = "talk tack tank tusk ask mask desk disk last lift lost lit mist lint listen shop slow shot snow shoe \
    shower how don dine gone bone zone none one dune park dark mary bark mars market mart marks compete crate clean \
    chose cloth clothes closet cheek chuck chick cheque cheese pick ticket stick thick trick oven pen charge chance \
    exit vote nose notice fine fund bind mind kind fin fond tile tidy game same fist spending bending sending lending \
    reading stem drip crop shop mail dell male sale hide side site test text next best rest lest west then than when \
    them there these those where here hear head heat heart great meat meet week weak wake walk work word world would \
    could should milk mike make take cake lake bake tasty toast taste trash fresh frame lame rental renewal finnish fish \
    dish wish mouse house close rose lose loose post most cost host past paste fast first cast tax taxi tacks tasked \
    opera clearly cancer camera update dates data titles bills bill doctor mom dad mum dog cat car bus and ant any are \
    not now new nut net note date gate late rate delight elder complain compile competent remote rewind removal \
    showing listing marker marking notes remedy remain reminding adding added address odd edge edited undone under unit \
    list lists donor donut donate bread read ready really party pasta plan plant plans planet plane shows dome dose";

/// Keywords that are recognized despite a typo.
const KEYWORDS: &str = "add create task tasks todo list show display view mark done complete completed finish finished \
    delete remove erase rename change update edit title description remind reminder remember forget pending everything \
    anything unfinished incomplete reopen undo second third first clear cancel called named search about check close \
    please what whats need note item items number";

/// Typos of words that are too short for an edit distance.
const SHORT_TYPOS: &[(&str, &str)] = &[
    ("ad", "add"),
    ("addd", "add"),
    ("aad", "add"),
    ("dd", "add"),
    ("tsk", "task"),
    ("taks", "task"),
    ("takss", "tasks"),
    ("tsks", "tasks"),
    ("tak", "task"),
    ("taskes", "tasks"),
    ("lst", "list"),
    ("lits", "list"),
    ("doen", "done"),
    ("dne", "done"),
    ("don", "done"),
    ("doe", "done"),
    ("dun", "done"),
    ("shw", "show"),
    ("sho", "show"),
    ("hsow", "show"),
    ("mrk", "mark"),
    ("amrk", "mark"),
    ("makr", "mark"),
    ("wat", "what"),
    ("wht", "what"),
    ("wats", "whats"),
    ("wuts", "whats"),
    ("al", "all"),
    ("teh", "the"),
    ("mi", "my"),
    ("ym", "my"),
    ("del", "delete"),
    ("dlt", "delete"),
    ("rmv", "remove"),
    ("pls", "please"),
    ("plz", "please"),
];

/// Whether a title may start with the verb `word`.
pub(crate) fn is_verb(word: &str) -> bool {
    static VERB_SET: LazyLock<HashSet<&str>> = LazyLock::new(|| VERBS.split_whitespace().collect());
    VERB_SET.contains(word)
}

/// Returns the keyword of which `word` is most likely a misspelling.
pub(crate) fn correct_typo(word: &str) -> Option<&'static str> {
    if let Some((_, meant)) = SHORT_TYPOS.iter().find(|(typo, _)| *typo == word) {
        return Some(meant);
    }
    let len = word.chars().count();
    if !(4..=14).contains(&len) || !word.bytes().all(|b| b.is_ascii_lowercase()) || is_known(word) {
        return None;
    }
    let allowed = if len >= 8 { 2 } else { 1 };
    KEYWORDS
        .split_whitespace()
        .filter(|keyword| {
            keyword.len().abs_diff(len) <= allowed && keyword.len() > 2 && has_similar_start(keyword, word)
        })
        .map(|keyword| (strsim::osa_distance(keyword, word), keyword))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, keyword)| keyword)
}

/// Whether the first letters are equal, or the first two are swapped.
fn has_similar_start(keyword: &str, word: &str) -> bool {
    let (mut keyword, mut word) = (keyword.bytes(), word.bytes());
    let (a, b) = (keyword.next(), keyword.next());
    let (x, y) = (word.next(), word.next());
    a == x || (a == y && b == x)
}

fn is_known(word: &str) -> bool {
    static KNOWN: LazyLock<HashSet<&str>> = LazyLock::new(|| {
        [
            NOT_TYPOS, VERBS, KEYWORDS, NOUNS, LISTS, SHOW, VIEW_WORDS, DONE, OPEN, NOTES, DELETE, COMPLETE,
            REOPEN, CHANGE, ADD,
        ]
        .iter()
        .flat_map(|set| set.split_whitespace())
        .collect()
    });
    KNOWN.contains(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corrects_misspelled_keywords_only() {
        for (word, meant) in [
            ("ad", "add"),
            ("tsk", "task"),
            ("taks", "task"),
            ("shwo", "show"),
            ("mrak", "mark"),
            ("doen", "done"),
            ("delte", "delete"),
            ("deleet", "delete"),
            ("compelte", "complete"),
            ("remnid", "remind"),
            ("creat", "create"),
            ("pendign", "pending"),
            ("renmae", "rename"),
        ] {
            assert_eq!(correct_typo(word), Some(meant), "{word}");
        }
        for word in [
            "talk", "by", "milk", "park", "clean", "make", "mask", "shop", "oven", "牛奶", "café", "Task",
        ] {
            assert_eq!(correct_typo(word), None, "{word}");
        }
    }
}
