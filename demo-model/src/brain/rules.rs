//! The rules: which pattern means what, and how sure that is.

use std::sync::LazyLock;

use super::{
    pattern::{Captures, Pattern},
    token::Token,
};

/// What a rule means. Captures: `t` the target, `x` a title, `d` a description, `s` what to search for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Means {
    Add,
    /// The title is meant as it stands; it is not a list of titles.
    AddExact,
    AddNothing,
    List,
    Search,
    More,
    Show,
    Complete,
    Reopen,
    Undo,
    Rename,
    RenameTo,
    Change,
    Describe,
    Append,
    ClearDescription,
    Delete,
    Greeting,
    HowAreYou,
    Thanks,
    Bye,
    Who,
    Help,
    MyName,
    Praise,
    Never,
    Yes,
    OffTopic,
}

/// A rule that matched.
#[derive(Debug)]
pub(super) struct Matched {
    pub(super) means: Means,
    pub(super) score: f32,
    pub(super) captures: Captures,
}

/// Words that no target begins with: "which tasks are not done" is a question.
const ASKING: &[&str] = &[
    "which", "what", "whats", "who", "is", "are", "did", "do", "does", "how", "why", "when", "have", "has",
];

/// The best rule for a clause; of equals the first in the table.
pub(super) fn best(tokens: &[Token]) -> Option<Matched> {
    static COMPILED: LazyLock<Vec<(Means, f32, Pattern)>> = LazyLock::new(|| {
        TABLE
            .iter()
            .map(|(means, score, source)| (*means, *score, Pattern::new(source)))
            .collect()
    });
    let mut best: Option<Matched> = None;
    for (means, score, pattern) in COMPILED.iter() {
        if best.as_ref().is_some_and(|best| best.score >= *score) {
            continue;
        }
        if let Some(captures) = pattern.matches(tokens)
            && !captures
                .get('t', tokens)
                .and_then(<[Token]>::first)
                .is_some_and(|first| first.is(ASKING))
        {
            best = Some(Matched {
                means: *means,
                score: *score,
                captures,
            });
        }
    }
    best
}

use Means::{
    Add, AddExact, AddNothing, Append, Bye, Change, ClearDescription, Complete, Delete, Describe, Greeting,
    Help, HowAreYou, List, More, MyName, Never, OffTopic, Praise, Rename, RenameTo, Reopen, Search, Show,
    Thanks, Undo, Who, Yes,
};

const TABLE: &[(Means, f32, &str)] = &[
    // Notes on tasks, before the creation of tasks.
    (
        Append,
        0.97,
        "add|attach|append|put|write|leave|make|include $D* $NOTE to|on|for|in|of task|number|item|todo # :? that|saying|says? :? <d>",
    ),
    (
        Append,
        0.96,
        "add|attach|append|put|write|leave|include $D* $NOTE to|on|for|in|of <t> : <d>",
    ),
    (
        Append,
        0.96,
        "add|attach|append|put|write|leave|include $D* $NOTE to|on|for|in|of <t> saying|that|says <d>",
    ),
    (
        Append,
        0.96,
        "add|attach|append|put|write|include <d> to|in|as|on $D* description|notes|note|details of|for|on|to <t>",
    ),
    (Append, 0.95, "note|comment on|for task|number|item # :? <d>"),
    (
        Append,
        0.93,
        "add <d> as a|the note|description|detail|comment to|on|for|of <t>",
    ),
    (Append, 0.9, "add|append <d> to task|number|item|todo # "),
    (
        Describe,
        0.97,
        "set|change|update|edit|modify|make|replace $D* description|desc|notes|note|details|detail of|for|on|in|to <t> to|as|with : <d>",
    ),
    (
        Describe,
        0.96,
        "set|change|update|edit|modify|make|replace $D* description|desc|notes|note|details|detail of|for|on|in|to <t> to|as|be|with <d>",
    ),
    (
        Describe,
        0.96,
        "set|change|update|edit|modify|make|replace $D* description|desc|notes|note|details|detail of|for|on|in|to <t> : <d>",
    ),
    (
        Describe,
        0.96,
        "set|change|update|edit|modify|make|give task|number|item|todo # $D* description|desc|notes|note|details|detail to|as|be|of? :? <d>",
    ),
    (
        Describe,
        0.94,
        "set|change|update|edit|modify|replace|make <t> description|desc|notes|details to|as|be|with :? <d>",
    ),
    (Describe, 0.94, "give <t> $D* description|desc|note|notes : <d>"),
    (Describe, 0.93, "give <t> $D* description|desc of <d>"),
    (
        Describe,
        0.95,
        "set|change|update|edit|modify|make|replace its|the|their description|desc|notes|note|details to|as|be|with :? <d>",
    ),
    (Describe, 0.94, "add|give it? a|the description|desc|note : <d>"),
    (
        Append,
        0.94,
        "add a|the|this? note to|on it|that|this|that one? :? <d>",
    ),
    (Describe, 0.93, "describe <t> as|with <d>"),
    (Describe, 0.93, "describe <t> : <d>"),
    (
        Describe,
        0.93,
        "task|number|item|todo # description|desc|note|notes|details is|should|be* :? <d>",
    ),
    (
        Describe,
        0.92,
        "the? description|note|notes|details of|for <t> is|should|be+ :? <d>",
    ),
    (
        Describe,
        0.86,
        "set|change|update|edit|add|write $D* description|desc|note|notes|details of|for|on|to|in <t>",
    ),
    (Describe, 0.86, "describe task|number|item #"),
    (
        ClearDescription,
        0.97,
        "clear|remove|delete|erase|empty|drop|wipe $D* $NOTE of|from|for|on|in <t>",
    ),
    (
        ClearDescription,
        0.97,
        "clear|remove|delete|erase|empty|drop|wipe its|the description|desc|note|notes",
    ),
    (
        ClearDescription,
        0.95,
        "clear|remove|delete|erase|empty|drop|wipe task|number|item|todo # description|desc|note|notes|details",
    ),
    (
        ClearDescription,
        0.93,
        "clear|remove|delete|erase|empty <t> description|desc",
    ),
    // Creation.
    (
        AddNothing,
        0.93,
        "add|create|make|insert|enter|register|start|set|need|want|new|have $D* $T",
    ),
    (
        AddNothing,
        0.93,
        "add|create|make|put|insert $D* $T|something|stuff|one|another to|on|in|into $D* $LM* $L",
    ),
    (AddNothing, 0.92, "add something|stuff|another|one|more*"),
    (AddNothing, 0.9, "add|create|new"),
    (AddNothing, 0.9, "remind me"),
    (
        AddExact,
        0.97,
        "$ADD $D* $T called|named|titled|labeled|labelled|entitled :? <x>",
    ),
    (
        AddExact,
        0.97,
        "$ADD $D* $T with $D* title|name|text of|as|is? :? <x>",
    ),
    (AddExact, 0.96, "new $T called|named|titled :? <x>"),
    (Add, 0.965, "$ADD $D* $T to|on|in|onto $D* $LM* $L : <x>"),
    (Add, 0.965, "$ADD $D* to|on|in|onto $D* $LM* $L : <x>"),
    (
        Add,
        0.95,
        "add|put|include|stick|throw|append|place|write|insert|note|get|save :? <x> to|on|onto|in|into|down $D* $LM* $L",
    ),
    (
        Add,
        0.95,
        "add|put|include|stick|throw|append|place|write|insert :? <x> to|on|onto|in|into there|it",
    ),
    (Add, 0.945, "add|put|append to|on|onto $D* $LM* $L :? <x>"),
    (
        Add,
        0.94,
        "add|create|make|insert|new|enter|register|append|start|open $D* $T for|me* to|that|about|saying|says|for|reading|is? :? <x>",
    ),
    (
        Add,
        0.94,
        "set|put|write|log|save|record|give $D* task|tasks|todo|todos|reminder|reminders up|me|down? to|that|about|for|saying? :? <x>",
    ),
    (
        Add,
        0.92,
        "need|want|have|got $D* task|todo|reminder to|for|about|that|called :? <x>",
    ),
    (
        Add,
        0.92,
        "i need|want|have|got|would|like+ $D* task|todo|reminder to|for|about|that|called :? <x>",
    ),
    (
        AddNothing,
        0.92,
        "i need|want|have|would|like+ to? add? $D* task|todo|reminder",
    ),
    (Add, 0.93, "new $T :? to|for|about? :? <x>"),
    (Add, 0.85, "add|append|insert : <x>"),
    (Add, 0.85, "add <x>"),
    (AddExact, 0.87, "create|make : <x>"),
    (Add, 0.86, "create <x> as $D* $T"),
    (Add, 0.84, "task|todo|reminder|tasks|todos : <x>"),
    (Add, 0.9, "remind|remember me to|about|of|that : <x>"),
    (Add, 0.91, "remind|remember me to|about|of|that <x>"),
    (Add, 0.8, "remind me :? <x>"),
    (Add, 0.9, "reminder :? to|for|about? <x>"),
    (
        Add,
        0.75,
        "i|we|ill also|still|really|just|urgently* need|have|got|must|ought|supposed to <x>",
    ),
    (
        Add,
        0.75,
        "i|we also|still|really|just* must|should|gotta|shall <x>",
    ),
    (
        Add,
        0.75,
        "ive|weve|im|i|we have? got|gotta|supposed|going to? remember? to? <x>",
    ),
    (
        Add,
        0.74,
        "i|we also|still|really|just* need|want $D* <x> on $D* $LM* $L",
    ),
    (Add, 0.55, "i|we also|still|really|just* need <x>"),
    (Add, 0.7, "i|we want|wanna|would|like|plan|intend|hope+ to <x>"),
    (Add, 0.7, "id like|love to <x>"),
    (Add, 0.7, "i wanna|gotta <x>"),
    (Add, 0.6, "lets|let us <x>"),
    (
        Add,
        0.92,
        "dont|do|not|never+ let me forget to|about|that? :? <x>",
    ),
    (
        Add,
        0.91,
        "dont|do|not|never|cant|mustnt|shouldnt+ forget to|about|that? :? <x>",
    ),
    (
        Add,
        0.91,
        "i|we cant|cannot|mustnt|must|can|dont|do|shouldnt|not|want|to+ forget to|about|that? <x>",
    ),
    (
        Add,
        0.91,
        "make|be sure that? i|we|to dont|do|not|forget|remember* to? <x>",
    ),
    (Add, 0.9, "help me to? remember to|about|that? <x>"),
    (Add, 0.9, "keep|bear in mind to|that|about? <x>"),
    (Add, 0.85, "remember to|that|about <x>"),
    (Add, 0.9, "note to self :? <x>"),
    (Add, 0.85, "note|jot|write|put down :? that|to? <x>"),
    (Add, 0.8, "note|jot|put :? that|to? : <x>"),
    (Add, 0.75, "note that|to <x>"),
    (Add, 0.62, "schedule|track|log|record|plan|save <x>"),
    (Add, 0.87, "put|throw|stick <x> down as $D* $T"),
    (Add, 0.8, "track|save <x> as $D* $T"),
    (Add, 0.8, "turn|make <x> into? $D task|todo|reminder"),
    // Viewing.
    (
        List,
        0.95,
        "$SHOW $VB* $T|$L|everything|all|pending|completed|done $VB*",
    ),
    (List, 0.95, "$SHOW me? $D* first|top # $VB* $T"),
    (
        List,
        0.94,
        "$WH $VB* $T|$L|everything|pending|left|remaining|outstanding|open|done|completed|finished|unfinished|todo|incomplete $VB*",
    ),
    (List, 0.94, "what|whats|is|anything|do $VB* to? do $VB*"),
    (
        List,
        0.93,
        "do|have|did i|we have|got|need $VB* anything|something|much|to|do+ $VB*",
    ),
    (List, 0.9, "my|all|the|current $VB* $T|$L $VB*"),
    (List, 0.88, "$T|$L"),
    (
        List,
        0.88,
        "pending|completed|done|unfinished|incomplete|finished|open|remaining|outstanding|active $T $VB*",
    ),
    (List, 0.88, "how many $VB+"),
    (
        List,
        0.86,
        "whats|what is|on|up|next|left|there|else+ $VB* on|next|left|there|pending|else",
    ),
    (
        List,
        0.85,
        "show|list|view|display|see me|it|them|everything|all|please*",
    ),
    (List, 0.8, "everything|all of them? please?"),
    (
        List,
        0.8,
        "i want|need|would|like|wanna+ to? see|view|check $VB* $T|$L|everything|all $VB*",
    ),
    (List, 0.72, "whats|what is? up next"),
    (
        List,
        0.75,
        "pending|completed|unfinished|incomplete|outstanding|remaining",
    ),
    (List, 0.85, "where am|are i|we with? $VB* $T|$L"),
    (
        List,
        0.85,
        "what have|did i|we already|just|ever* done|finished|completed|finish|complete|do $VB*",
    ),
    (List, 0.85, "what havent|didnt i|we $VB+"),
    (
        More,
        0.9,
        "show|list|see|give|load me? more|next of|tasks|page|ones|results|please*",
    ),
    (More, 0.9, "next page|ones|tasks please?"),
    (More, 0.85, "more|next please?"),
    (
        Search,
        0.93,
        "$SHOW|find|search|filter|lookup $VB* about|containing|mentioning|regarding|concerning|matching|including|involving|like <s>",
    ),
    (
        Search,
        0.93,
        "$SHOW|find|search|filter|lookup $VB* related|relating|relevant to <s>",
    ),
    (
        Search,
        0.93,
        "$SHOW|find|search|filter|lookup $VB* that|which|whose|the? title|titles? mention|mentions|contain|contains|include|includes|has|have|match|matches|say|says <s>",
    ),
    (
        Search,
        0.92,
        "$SHOW|find|search|filter|lookup $VB* $T called|named|with|for|on|to|by <s>",
    ),
    (Search, 0.92, "search|look|filter|hunt $VB* for|by|up : <s>"),
    (
        Search,
        0.92,
        "search|look|filter|hunt through|in|my|the|$T|$L* for|by|up <s>",
    ),
    (
        Search,
        0.9,
        "is|are|do|did|have|has|any|anything|something|what|whats|got $VB* about|for|regarding|with|called|named|mentioning|containing|involving|concerning|including|related|like to? <s>",
    ),
    (Search, 0.9, "is|are there|i|we? $D* $T to <s>"),
    (
        Search,
        0.9,
        "which|what|any $T $VB* mention|contain|include|involve|match|mentions|contains|about|with|have|for <s>",
    ),
    (
        Search,
        0.9,
        "is|are|do|have|did|got i|we|there? have|got|already? <s> already? on|in $D* $LM* $L already?",
    ),
    (
        Search,
        0.85,
        "did|have|do i|we already|ever* add|added|have|create|created|put|note|noted $D* <s>",
    ),
    (
        Search,
        0.85,
        "is|are|did|was|have i|we|the? finish|finished|done|do|complete|completed? <s> done|completed|finished|complete yet|already|still|or|not*",
    ),
    (
        Search,
        0.8,
        "did i finish|finished|do|complete|completed|done <s>",
    ),
    (Search, 0.8, "find|search|lookup <s>"),
    (
        Search,
        0.78,
        "$SHOW me? my|the|all|any|every* <s> tasks|task|todos|reminders|items",
    ),
    (Search, 0.75, "anything|something about|with|for|on|regarding <s>"),
    (
        Show,
        0.96,
        "$SHOW|whats|what|details|find me|is|are|the|details|detail|info|more|of|for|about|on|up* task|number|item|todo # details|detail|about|description|please*",
    ),
    (
        Show,
        0.94,
        "$SHOW me? $D* details|detail|description|info|notes|note of|for|on|about <t>",
    ),
    (
        Show,
        0.94,
        "$SHOW me? $D* first|second|third|fourth|fifth|last|latest task|one|item",
    ),
    (Show, 0.93, "what does|is the? $T? # say|about|description"),
    (
        Show,
        0.93,
        "whats|what is? the|its|task? description|note|details of|for|on|about <t>",
    ),
    (
        Show,
        0.9,
        "is task|number|item|todo # done|completed|finished|complete|open|pending yet|already|still*",
    ),
    (
        Show,
        0.9,
        "have i done|finished|completed task|number|item|todo # yet|already*",
    ),
    (Show, 0.85, "tell me more? about <t>"),
    (Show, 0.86, "task|number|item #"),
    // Completion.
    (
        Reopen,
        0.97,
        "mark|set|flag|change|make|put|move <t> as|to|back? still|not|un+ $DONE yet|anymore|again*",
    ),
    (
        Reopen,
        0.97,
        "mark|set|flag|change|make|put|move <t> as|to|back+ still|not* $OPEN again?",
    ),
    (
        Reopen,
        0.96,
        "mark|set|flag|change|make|put|move <t> back? $OPEN again?",
    ),
    (
        Reopen,
        0.95,
        "<t> is|are|was|were|isnt|arent|wasnt|werent|has|have|havent|hasnt+ actually|really|still* not been|yet* $DONE yet|after|all|actually*",
    ),
    (
        Reopen,
        0.95,
        "<t> isnt|arent|wasnt|werent|hasnt|havent been|yet|really|actually* $DONE yet|after|all|actually*",
    ),
    (Reopen, 0.93, "<t> as? not|isnt $DONE yet|after|all*"),
    (Reopen, 0.93, "<t> is|are as? still? $OPEN again?"),
    (
        Reopen,
        0.93,
        "i|we actually? havent|have|didnt|did|not|hadnt+ actually|yet* done|finished|completed|do|finish|complete did? <t> yet|after|all*",
    ),
    (Reopen, 0.94, "$REOPEN <t>"),
    (Reopen, 0.93, "re|un open|complete|check|tick|do|mark <t>"),
    (
        Reopen,
        0.9,
        "bring|put|move|take <t> back to|on|onto|into? $D* $LM* $L|$OPEN?",
    ),
    (Reopen, 0.9, "undo completion|completing of|on|for? <t>"),
    (Reopen, 0.88, "undo <t>"),
    (Undo, 0.93, "undo it|that|this|please|the|last|change|action|one*"),
    (Undo, 0.92, "revert|take it|that|this|back+ please?"),
    (Undo, 0.9, "not done|finished|completed yet|actually*"),
    (
        Undo,
        0.9,
        "oops|no|wait|actually* undo it|that|this|please|again*",
    ),
    (Reopen, 0.88, "reopen|uncomplete|uncheck|untick"),
    (
        Complete,
        0.95,
        "mark|set|flag|check|tick|put|move|change|make|count|consider|update <t> as|to|off|is|status|all* $DONE now|please|too*",
    ),
    (Complete, 0.94, "mark|set $DONE :? <t>"),
    (
        Complete,
        0.94,
        "check|tick|cross|strike|mark|knock|scratch off|out|through <t>",
    ),
    (
        Complete,
        0.94,
        "check|tick|cross|strike|mark|knock|scratch <t> off|out|through from|of|on? $D* $LM* $L?",
    ),
    (
        Complete,
        0.93,
        "i|we|ive|weve have|already|just|finally|also* finished|completed|did|accomplished|done with? <t>",
    ),
    (
        Complete,
        0.93,
        "im|i|we|were am|are|all|already|just|finally* done|finished|through with <t>",
    ),
    (
        Complete,
        0.93,
        "just|already|finally? finished|completed|accomplished with? <t>",
    ),
    (Complete, 0.92, "done|finished|completed with|: <t>"),
    (
        Complete,
        0.92,
        "done|completed task|tasks|number|item|# #? and|#*",
    ),
    (
        Complete,
        0.92,
        "<t> is|are|was|were|has|have|now|all|already|been|just+ $DONE now|already|too*",
    ),
    (Complete, 0.9, "get <t> done|finished|completed"),
    (
        Complete,
        0.88,
        "complete|finish|close|resolve|accomplish|tick|check|done task|tasks|number|item|items|todo|todos <t>",
    ),
    (Complete, 0.8, "complete|tick <t>"),
    (Complete, 0.72, "finish|close|check|resolve|accomplish|cross <t>"),
    (
        Complete,
        0.86,
        "complete|finish|mark|tick|done off|the|a|my? task|tasks? as? done|complete|completed?",
    ),
    (
        Complete,
        0.86,
        "task|tasks|number|item|todo <t> done|completed|finished|complete",
    ),
    (
        Complete,
        0.84,
        "task|tasks|number|item|todo <t> as done|completed|finished|complete",
    ),
    (Complete, 0.8, "# as|is done|completed|finished|complete"),
    (Complete, 0.74, "mark|tick <t>"),
    (Complete, 0.7, "mark as? done|complete|completed"),
    // Renaming.
    (
        Rename,
        0.95,
        "rename|retitle|relabel|reword|rephrase <t> to|as|into|with : <x>",
    ),
    (
        Rename,
        0.945,
        "rename|retitle|relabel|reword|rephrase <t> to|as|into|with <x>",
    ),
    (Rename, 0.95, "rename|retitle|relabel <t> : <x>"),
    (
        Rename,
        0.95,
        "$CHANGE $D* title|name|text|wording|label of|for|on <t> to|into|as :? <x>",
    ),
    (
        Rename,
        0.95,
        "$CHANGE $D* title|name|text|wording|label of|for|on <t> from <o> to|into :? <x>",
    ),
    (Rename, 0.95, "$CHANGE <t> title|name|text to|into|as :? <x>"),
    (
        Rename,
        0.93,
        "$CHANGE task|number|item|todo # from <o> to|into :? <x>",
    ),
    (
        Rename,
        0.92,
        "$CHANGE task|number|item|todo # to|into|so|it|that|says|say|reads|read|be+ :? <x>",
    ),
    (Rename, 0.91, "$CHANGE task|number|item|todo # : <x>"),
    (Rename, 0.85, "$CHANGE <t> to say|read|be :? <x>"),
    (
        Rename,
        0.84,
        "change|update|edit|modify|correct|amend|alter|revise <t> to|into :? <x>",
    ),
    (
        Rename,
        0.93,
        "call|name|title task|number|item|todo # :? <x> instead|now?",
    ),
    (Rename, 0.93, "call|name it|that :? <x> instead|now"),
    (Rename, 0.9, "call <t> <x> instead"),
    (Rename, 0.85, "call it|that|this :? <x>"),
    (
        Rename,
        0.9,
        "make task|number|item|todo # say|read|be|into? :? <x>",
    ),
    (Rename, 0.88, "replace <t> with|by :? <x>"),
    (Rename, 0.8, "swap|switch <t> for|with <x>"),
    (
        Rename,
        0.92,
        "task|number|item|todo # should|must|needs|ought|is to|now|actually* be|say|read|called|named|titled+ :? <x>",
    ),
    (
        Rename,
        0.92,
        "the? title|name of|for <t> should|must|needs|is to|now* be|say|read* :? <x>",
    ),
    (
        Rename,
        0.9,
        "it should|must to|now* be|say|read called|named|titled? :? <x>",
    ),
    (RenameTo, 0.9, "rename|retitle|relabel <t>"),
    (Change, 0.86, "$CHANGE task|number|item|todo #"),
    (RenameTo, 0.9, "$CHANGE $D* title|name of|for|on <t>"),
    (Change, 0.72, "change|edit|modify|update <t>"),
    (Change, 0.8, "rename|edit|change|update|modify $D* $T?"),
    // Deletion.
    (Delete, 0.94, "$DEL <t> from|off|on|out $D|of* $LM* $L"),
    (
        Delete,
        0.94,
        "take|get|cross|strike <t> off|from|out of? $D* $LM* $L",
    ),
    (Delete, 0.93, "get rid of <t>"),
    (Delete, 0.93, "throw|toss away|out <t>"),
    (Delete, 0.93, "throw|toss <t> away|out"),
    (Delete, 0.9, "delete|remove|erase|del|rm|purge|eliminate|wipe <t>"),
    (Delete, 0.8, "discard|trash|scrap|clear|ditch|bin|drop|empty <t>"),
    (Delete, 0.55, "cancel|kill <t>"),
    (Delete, 0.9, "cancel|kill task|tasks|number|item|todo <t>"),
    (
        Delete,
        0.85,
        "i|we dont|no|do|not+ longer? need|want|have to? <t> anymore|any|more*",
    ),
    (Delete, 0.6, "forget about? <t>"),
    (Delete, 0.86, "delete|remove|erase $D* $T?"),
    // Small talk.
    (
        Greeting,
        0.9,
        "hi|hello|hey|hiya|howdy|yo|greetings|hola|heya|sup|hullo+ there|errand|bot|assistant|again|everyone|all|friend|buddy*",
    ),
    (
        Greeting,
        0.9,
        "good morning|afternoon|evening|day there|errand|to|you*",
    ),
    (
        HowAreYou,
        0.96,
        "hi|hello|hey* how are|is|r|do|does+ you|u|it|things|everything|life doing|going|today|feeling|do|now|there*",
    ),
    (HowAreYou, 0.96, "whats|what is? up"),
    (
        HowAreYou,
        0.9,
        "hows|how it|everything|life|things|your|day+ going|today*",
    ),
    (
        Thanks,
        0.95,
        "ok|okay|great|cool|perfect|nice|awesome|hi|and* thanks|thank|thx|ty|cheers|tysm|appreciated you|u|so|very|a|lot|much|for|the|your|help|that|again|all|errand|this|it|bunch|ton|million|everything*",
    ),
    (Thanks, 0.9, "much appreciated"),
    (Thanks, 0.9, "i appreciate it|that|this|your|the|help*"),
    (
        Bye,
        0.9,
        "ok|okay|thanks|and* bye|goodbye|cya|farewell|ciao|byebye bye|for|now|errand|then*",
    ),
    (Bye, 0.9, "see you|ya|u later|soon|tomorrow|around*"),
    (Bye, 0.9, "good night|evening?"),
    (Bye, 0.9, "talk|catch to? you later|soon"),
    (
        Bye,
        0.9,
        "thats|that is|will|be? all|it|everything for|now|today|thanks*",
    ),
    (Who, 0.97, "who|what are|r|is you|u|this exactly|really|anyway*"),
    (
        Who,
        0.97,
        "are|is|r you|this|u $D* robot|bot|ai|human|person|real|gpt|chatgpt|llm|model|machine|program|computer|claude|gemini|openai|demo|language|person|or|a|an|man|woman*",
    ),
    (
        Who,
        0.97,
        "what|which|whats|tell|me+ model|llm|ai|version|engine are|is|do|does|you|use|using|this|your|running|on|run*",
    ),
    (Who, 0.97, "what|whats is? your name"),
    (
        Who,
        0.95,
        "do|have|can you feelings|feel|think|conscious|sentient|real|alive*",
    ),
    (Who, 0.95, "tell me about yourself"),
    (Who, 0.95, "introduce yourself"),
    (Who, 0.95, "who made|built|created|wrote|trained you"),
    (
        Help,
        0.97,
        "what|how can|do|could|should i|you do|say|ask|help|for|me|with|here|use|you|this|type|it*",
    ),
    (
        Help,
        0.97,
        "what|how can|could|do you do|help|work for|me|with|exactly*",
    ),
    (
        Help,
        0.9,
        "help|commands|options|usage|instructions|examples me|please|with|this|out|my|$T|$L*",
    ),
    (Help, 0.9, "how does|do|to it|this|you|i work|use|this|it|works*"),
    (Help, 0.9, "can|could you help me? out|please|with|my|$T|$L*"),
    (
        Help,
        0.9,
        "what are your|the features|capabilities|commands|abilities|options|functions|skills",
    ),
    (Help, 0.85, "i need|want help please?"),
    (
        MyName,
        0.97,
        "whats|what|tell|me|do|you|know|remember+ is? my name",
    ),
    (MyName, 0.97, "who am i"),
    (
        Praise,
        0.8,
        "good|great|nice|well|excellent|awesome|perfect|cool|amazing|wonderful|brilliant|fantastic|lovely|wow|lol|haha|ok|okay|alright|fine|sweet|super|neat|k|hmm|interesting|sounds|thats|its|very|so|really|you|youre|are|job|work|done|one|the|best|bot|stuff|love|i|it|got|understood|right|indeed+",
    ),
    (Praise, 0.8, "sorry|apologies|oops|my|bad|mistake+"),
    (
        Never,
        0.9,
        "no|nope|nah|ok|okay|actually|just* never|nevermind|nvm|cancel|stop|abort|forget|skip mind|it|that|this|please*",
    ),
    (Never, 0.9, "no|nope|nah|n thanks|thank|you|not|now|dont|please*"),
    (Never, 0.9, "dont|do not? do|worry|bother it|that|this|about*"),
    (
        Yes,
        0.9,
        "yes|yeah|yep|yup|sure|y|go|ahead|please|do|it|of|course|definitely|absolutely|confirm|confirmed|proceed|okay|ok+",
    ),
    // What is not ours.
    (
        OffTopic,
        0.75,
        "whats|what|hows|how is|will|was|the|be|like|todays|about* weather|temperature|forecast|time|date|news|score|stock|price|capital|meaning <s>",
    ),
    (
        OffTopic,
        0.75,
        "whats|what|hows|how is|will|was|the|be|like|todays|about* weather|temperature|forecast|time|date|news like|today|now|tomorrow|is|it*",
    ),
    (
        OffTopic,
        0.75,
        "tell me? $D* joke|story|riddle|fact|secret|poem|jokes|stories|something|news|about* <s>",
    ),
    (
        OffTopic,
        0.75,
        "tell me? $D* funny|good|another|short* joke|story|riddle|fact|secret|poem|jokes|stories please?",
    ),
    (
        OffTopic,
        0.8,
        "write|make|compose|generate|create|draw|code|give|show me? $D* python|rust|java|javascript|short|html|sql|c|bash|simple|funny|love|small|long* function|script|program|poem|song|story|essay|code|haiku|recipe|picture|image|app|website|algorithm|joke|limerick|query about|for|that|to|in|of|on* ",
    ),
    (
        OffTopic,
        0.87,
        "write|make|compose|generate|create|draw|code|give|show me? $D* python|rust|java|javascript|short|html|sql|c|bash|simple|funny|love|small|long* function|script|program|poem|song|story|essay|code|haiku|recipe|picture|image|app|website|algorithm|joke|limerick|query about|for|that|to|in|of|on <s>",
    ),
    (
        OffTopic,
        0.75,
        "translate|calculate|compute|solve|explain|define|summarize|summarise|recommend|sing|recite|convert|imagine|pretend|roleplay <s>",
    ),
    (OffTopic, 0.65, "who|when|where|why|whos|wheres|whys|whens <s>"),
    (OffTopic, 0.6, "what|whats|which|how|hows <s>"),
    (
        OffTopic,
        0.55,
        "is|are|does|do|did|was|were|will|would|should|can|could|has|have am|i|you|we|it|the|there? <s>",
    ),
    (OffTopic, 0.6, "tell me <s>"),
];
