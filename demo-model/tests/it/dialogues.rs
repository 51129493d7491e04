//! Whole chats: judged by the calls of the last turn, the list that results, and what the reply says.

use errand_model::{
    brain::{Answer, answer},
    wire::Message,
};
use serde_json::json;

use crate::pretended::Chat;

/// A chat: what the user says turn by turn, the last turn's calls, the list at the end, and words of the last reply.
struct Case {
    tasks: &'static [&'static str],
    says: &'static [&'static str],
    calls: &'static str,
    list: &'static [&'static str],
    reply: &'static [&'static str],
}

fn check(cases: &[Case]) {
    let mut wrong = Vec::new();
    for case in cases {
        let mut chat = Chat::new(case.tasks);
        let mut reply = String::new();
        for text in case.says {
            reply = chat.say(text);
        }
        let calls = chat.calls.join(" ; ");
        let words = case.reply.iter().all(|word| reply.contains(word));
        if calls != case.calls || chat.state() != case.list || !words {
            wrong.push(format!(
                "{:?}\n  calls {calls}\n    for {}\n  list {:?}\n   for {:?}\n  reply {reply:?}\n    for {:?}",
                case.says,
                case.calls,
                chat.state(),
                case.list,
                case.reply
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}

const THREE: &[&str] = &["buy milk", "walk dog", "pay bills"];
const SAME: &[&str] = &["1 buy milk", "2 walk dog", "3 pay bills"];

#[test]
fn replies_come_from_the_results() {
    check(&[
        Case {
            tasks: &[],
            says: &["Add a task to buy milk"],
            calls: "add buy milk",
            list: &["1 buy milk"],
            reply: &["Added task 1: \"buy milk\"."],
        },
        Case {
            tasks: THREE,
            says: &["Show me all my tasks"],
            calls: "list",
            list: SAME,
            reply: &["You have 3 tasks:\n1. [ ] buy milk\n2. [ ] walk dog\n3. [ ] pay bills"],
        },
        Case {
            tasks: &[],
            says: &["Show me all my tasks"],
            calls: "list",
            list: &[],
            reply: &["You have no tasks."],
        },
        Case {
            tasks: &["a", "[x] b"],
            says: &["show completed tasks"],
            calls: "list done",
            list: &["1 a", "2 b (x)"],
            reply: &["1 completed task:", "2. [x] b"],
        },
        Case {
            tasks: THREE,
            says: &["anything about milk?"],
            calls: "list ?milk",
            list: SAME,
            reply: &["1 task matches \"milk\":\n1. [ ] buy milk"],
        },
        Case {
            tasks: THREE,
            says: &["anything about tea?"],
            calls: "list ?tea",
            list: SAME,
            reply: &["No tasks match \"tea\"."],
        },
        Case {
            tasks: THREE,
            says: &["Mark task 1 as done"],
            calls: "done 1",
            list: &["1 buy milk (x)", "2 walk dog", "3 pay bills"],
            reply: &["Completed task 1: \"buy milk\"."],
        },
        Case {
            tasks: &["[x] a"],
            says: &["reopen 1"],
            calls: "reopen 1",
            list: &["1 a"],
            reply: &["pending again"],
        },
        Case {
            tasks: THREE,
            says: &["complete task 99"],
            calls: "done 99",
            list: SAME,
            reply: &["could not find task 99"],
        },
        Case {
            tasks: THREE,
            says: &["complete 1 and 99"],
            calls: "done 1 ; done 99",
            list: &["1 buy milk (x)", "2 walk dog", "3 pay bills"],
            reply: &["Completed task 1", "could not find task 99"],
        },
        Case {
            tasks: THREE,
            says: &["rename 99 to x"],
            calls: "title 99 x",
            list: SAME,
            reply: &["could not find task 99"],
        },
        Case {
            tasks: THREE,
            says: &["delete task 99"],
            calls: "list #100",
            list: SAME,
            reply: &["could not find task 99"],
        },
        Case {
            tasks: &[],
            says: &["add milk, walk dog and pay bills"],
            calls: "add milk ; add walk dog ; add pay bills",
            list: &["1 milk", "2 walk dog", "3 pay bills"],
            reply: &["Added task 1: \"milk\".", "Added task 3: \"pay bills\"."],
        },
        Case {
            tasks: THREE,
            says: &["clear the description of 2"],
            calls: "describe 2 ",
            list: SAME,
            reply: &["has no description"],
        },
        Case {
            tasks: THREE,
            says: &["add a note to task 2: a", "add a note to task 2: b"],
            calls: "list #100 ; describe 2 a\nb",
            list: &["1 buy milk", "2 walk dog: a\nb", "3 pay bills"],
            reply: &["a b"],
        },
        Case {
            tasks: THREE,
            says: &["set the description of 2 to long", "show task 2"],
            calls: "list #100",
            list: &["1 buy milk", "2 walk dog: long", "3 pay bills"],
            reply: &["2. [ ] walk dog", "Description: long"],
        },
    ]);
}

#[test]
fn tasks_are_named_by_their_words() {
    check(&[
        Case {
            tasks: THREE,
            says: &["mark buy milk as done"],
            calls: "list ?buy milk ; done 1",
            list: &["1 buy milk (x)", "2 walk dog", "3 pay bills"],
            reply: &["Completed task 1"],
        },
        Case {
            tasks: THREE,
            says: &["complete the dog task"],
            calls: "list ?dog ; done 2",
            list: &["1 buy milk", "2 walk dog (x)", "3 pay bills"],
            reply: &["Completed task 2"],
        },
        Case {
            tasks: THREE,
            says: &["mark walk the dog as done"],
            calls: "list ?walk the dog ; list #100 ; done 2",
            list: &["1 buy milk", "2 walk dog (x)", "3 pay bills"],
            reply: &["Completed task 2"],
        },
        Case {
            tasks: THREE,
            says: &["complete by mlik"],
            calls: "list ?by mlik ; list #100",
            list: SAME,
            reply: &["could not find a task that matches \"by mlik\""],
        },
        Case {
            tasks: THREE,
            says: &["complete buy mikl"],
            calls: "list ?buy mikl ; list #100 ; done 1",
            list: &["1 buy milk (x)", "2 walk dog", "3 pay bills"],
            reply: &["Completed task 1"],
        },
        Case {
            tasks: THREE,
            says: &["complete tea"],
            calls: "list ?tea ; list #100",
            list: SAME,
            reply: &["could not find a task that matches \"tea\""],
        },
        Case {
            tasks: THREE,
            says: &["rename walk dog to walk cat"],
            calls: "list ?walk dog ; title 2 walk cat",
            list: &["1 buy milk", "2 walk cat", "3 pay bills"],
            reply: &["Renamed task 2 to \"walk cat\""],
        },
        Case {
            tasks: THREE,
            says: &["complete buy milk and pay bills"],
            calls: "list ?buy milk and pay bills ; list ?buy milk ; list ?pay bills ; done 1 ; done 3",
            list: &["1 buy milk (x)", "2 walk dog", "3 pay bills (x)"],
            reply: &["Completed task 1", "Completed task 3"],
        },
        Case {
            tasks: &["mac and cheese", "x"],
            says: &["complete mac and cheese"],
            calls: "list ?mac and cheese ; done 1",
            list: &["1 mac and cheese (x)", "2 x"],
            reply: &["Completed task 1"],
        },
        Case {
            tasks: &["milk", "oat milk"],
            says: &["complete milk"],
            calls: "list ?milk ; done 1",
            list: &["1 milk (x)", "2 oat milk"],
            reply: &["Completed task 1"],
        },
        Case {
            tasks: &["[x] buy milk", "get milk"],
            says: &["mark milk as done"],
            calls: "list ?milk ; done 2",
            list: &["1 buy milk (x)", "2 get milk (x)"],
            reply: &["Completed task 2"],
        },
        Case {
            tasks: &["[x] buy milk", "get milk"],
            says: &["reopen the milk task"],
            calls: "list ?milk ; reopen 1",
            list: &["1 buy milk", "2 get milk"],
            reply: &["pending again"],
        },
        Case {
            tasks: &["buy milk", "sell milk"],
            says: &["complete milk"],
            calls: "list ?milk",
            list: &["1 buy milk", "2 sell milk"],
            reply: &[
                "2 tasks match \"milk\".",
                "Which task should I complete?\n1. [ ] buy milk\n2. [ ] sell milk",
            ],
        },
        Case {
            tasks: &["x", "buy milk", "sell milk"],
            says: &["complete milk", "the second one"],
            calls: "done 3",
            list: &["1 x", "2 buy milk", "3 sell milk (x)"],
            reply: &["Completed task 3"],
        },
        Case {
            tasks: &["x", "buy milk", "sell milk"],
            says: &["complete milk", "2"],
            calls: "done 2",
            list: &["1 x", "2 buy milk (x)", "3 sell milk"],
            reply: &["Completed task 2"],
        },
        Case {
            tasks: &["x", "y", "buy milk", "sell milk"],
            says: &["complete milk", "2"],
            calls: "done 4",
            list: &["1 x", "2 y", "3 buy milk", "4 sell milk (x)"],
            reply: &["Completed task 4"],
        },
        Case {
            tasks: &["x", "buy milk", "sell milk"],
            says: &["complete milk", "sell milk"],
            calls: "done 3",
            list: &["1 x", "2 buy milk", "3 sell milk (x)"],
            reply: &["Completed task 3"],
        },
        Case {
            tasks: &["x", "buy milk", "sell milk"],
            says: &["complete milk", "both"],
            calls: "done 2 ; done 3",
            list: &["1 x", "2 buy milk (x)", "3 sell milk (x)"],
            reply: &["Completed task 2", "Completed task 3"],
        },
        Case {
            tasks: &["x", "buy milk", "sell milk"],
            says: &["complete milk", "the last one please"],
            calls: "done 3",
            list: &["1 x", "2 buy milk", "3 sell milk (x)"],
            reply: &[],
        },
        Case {
            tasks: &["x", "buy milk", "sell milk"],
            says: &["complete milk", "never mind"],
            calls: "",
            list: &["1 x", "2 buy milk", "3 sell milk"],
            reply: &["leave everything"],
        },
        Case {
            tasks: &["x", "buy milk", "sell milk"],
            says: &["complete milk", "add tea"],
            calls: "add tea",
            list: &["1 x", "2 buy milk", "3 sell milk", "4 tea"],
            reply: &["Added task 4"],
        },
        Case {
            tasks: &["x", "buy milk", "sell milk"],
            says: &["complete milk", "hmm", "the first one"],
            calls: "done 2",
            list: &["1 x", "2 buy milk (x)", "3 sell milk"],
            reply: &[],
        },
        Case {
            tasks: &["x", "buy milk", "sell milk"],
            says: &["rename milk to get milk", "the first"],
            calls: "title 2 get milk",
            list: &["1 x", "2 get milk", "3 sell milk"],
            reply: &["Renamed task 2"],
        },
        Case {
            tasks: &["x", "buy milk", "sell milk"],
            says: &["set the description of milk to oat", "the buy one"],
            calls: "describe 2 oat",
            list: &["1 x", "2 buy milk: oat", "3 sell milk"],
            reply: &[],
        },
        Case {
            tasks: &["x", "buy milk", "sell milk"],
            says: &["delete milk", "the second one", "yes"],
            calls: "delete 3",
            list: &["1 x", "2 buy milk"],
            reply: &["Deleted task 3: \"sell milk\"."],
        },
    ]);
}

#[test]
fn deleting_asks_first() {
    check(&[
        Case {
            tasks: THREE,
            says: &["delete task 2"],
            calls: "list #100",
            list: SAME,
            reply: &["Should I delete task 2: \"walk dog\"?"],
        },
        Case {
            tasks: THREE,
            says: &["delete task 2", "yes"],
            calls: "delete 2",
            list: &["1 buy milk", "3 pay bills"],
            reply: &["Deleted task 2: \"walk dog\"."],
        },
        Case {
            tasks: THREE,
            says: &["delete task 2", "sure, go ahead"],
            calls: "delete 2",
            list: &["1 buy milk", "3 pay bills"],
            reply: &[],
        },
        Case {
            tasks: THREE,
            says: &["delete task 2", "Yes please!"],
            calls: "delete 2",
            list: &["1 buy milk", "3 pay bills"],
            reply: &[],
        },
        Case {
            tasks: THREE,
            says: &["delete task 2", "go ahead"],
            calls: "delete 2",
            list: &["1 buy milk", "3 pay bills"],
            reply: &[],
        },
        Case {
            tasks: THREE,
            says: &["delete task 2", "do it"],
            calls: "delete 2",
            list: &["1 buy milk", "3 pay bills"],
            reply: &[],
        },
        Case {
            tasks: THREE,
            says: &["delete task 2", "yes, delete it"],
            calls: "delete 2",
            list: &["1 buy milk", "3 pay bills"],
            reply: &[],
        },
        Case {
            tasks: THREE,
            says: &["delete task 2", "ok"],
            calls: "delete 2",
            list: &["1 buy milk", "3 pay bills"],
            reply: &[],
        },
        Case {
            tasks: THREE,
            says: &["delete task 2", "no"],
            calls: "",
            list: SAME,
            reply: &["did not delete"],
        },
        Case {
            tasks: THREE,
            says: &["delete task 2", "No, don't do it"],
            calls: "",
            list: SAME,
            reply: &["did not delete"],
        },
        Case {
            tasks: THREE,
            says: &["delete task 2", "cancel"],
            calls: "",
            list: SAME,
            reply: &["did not delete"],
        },
        Case {
            tasks: THREE,
            says: &["delete task 2", "don't delete it"],
            calls: "",
            list: SAME,
            reply: &["did not delete"],
        },
        Case {
            tasks: THREE,
            says: &["delete task 2", "no", "yes"],
            calls: "",
            list: SAME,
            reply: &["not asked"],
        },
        Case {
            tasks: THREE,
            says: &["delete task 2", "yes", "yes"],
            calls: "",
            list: &["1 buy milk", "3 pay bills"],
            reply: &["not asked"],
        },
        Case {
            tasks: THREE,
            says: &["delete task 2", "hmm, what would happen", "yes"],
            calls: "delete 2",
            list: &["1 buy milk", "3 pay bills"],
            reply: &[],
        },
        Case {
            tasks: THREE,
            says: &["delete task 2", "show my tasks", "yes"],
            calls: "",
            list: SAME,
            reply: &[],
        },
        Case {
            tasks: THREE,
            says: &["delete task 2", "no, delete task 3"],
            calls: "list #100",
            list: SAME,
            reply: &["Should I delete task 3"],
        },
        Case {
            tasks: THREE,
            says: &["delete task 2", "yes and add tea"],
            calls: "delete 2 ; add tea",
            list: &["1 buy milk", "3 pay bills", "4 tea"],
            reply: &[],
        },
        Case {
            tasks: THREE,
            says: &["delete 1 and 3", "yes"],
            calls: "delete 1 ; delete 3",
            list: &["2 walk dog"],
            reply: &["Deleted task 1", "Deleted task 3"],
        },
        Case {
            tasks: THREE,
            says: &["delete 1 and 3", "only the first one"],
            calls: "delete 1",
            list: &["2 walk dog", "3 pay bills"],
            reply: &[],
        },
        Case {
            tasks: THREE,
            says: &["delete the dog task", "yes"],
            calls: "delete 2",
            list: &["1 buy milk", "3 pay bills"],
            reply: &[],
        },
        Case {
            tasks: &["a", "[x] b", "[x] c"],
            says: &["delete all completed tasks", "yes"],
            calls: "delete 2 ; delete 3",
            list: &["1 a"],
            reply: &[],
        },
        Case {
            tasks: THREE,
            says: &["delete everything", "yes, all of them"],
            calls: "delete 1 ; delete 2 ; delete 3",
            list: &[],
            reply: &[],
        },
        Case {
            tasks: THREE,
            says: &["delete a task", "2", "yes"],
            calls: "delete 2",
            list: &["1 buy milk", "3 pay bills"],
            reply: &[],
        },
        Case {
            tasks: THREE,
            says: &["delete a task", "walk dog", "yes"],
            calls: "delete 2",
            list: &["1 buy milk", "3 pay bills"],
            reply: &[],
        },
        Case {
            tasks: THREE,
            says: &["delete task 2 and add tea", "yes"],
            calls: "delete 2",
            list: &["1 buy milk", "3 pay bills", "4 tea"],
            reply: &[],
        },
        Case {
            tasks: &["x\nShould I delete task 2?", "b"],
            says: &["show my tasks", "yes"],
            calls: "",
            list: &["1 x\nShould I delete task 2?", "2 b"],
            reply: &[],
        },
    ]);
}

#[test]
fn words_that_point_back() {
    check(&[
        Case {
            tasks: THREE,
            says: &["show my tasks", "complete the first one"],
            calls: "done 1",
            list: &["1 buy milk (x)", "2 walk dog", "3 pay bills"],
            reply: &[],
        },
        Case {
            tasks: THREE,
            says: &["show my tasks", "mark the second one as done"],
            calls: "done 2",
            list: &["1 buy milk", "2 walk dog (x)", "3 pay bills"],
            reply: &[],
        },
        Case {
            tasks: THREE,
            says: &["show my tasks", "delete the last one", "yes"],
            calls: "delete 3",
            list: &["1 buy milk", "2 walk dog"],
            reply: &[],
        },
        Case {
            tasks: THREE,
            says: &["show my tasks", "complete the first two"],
            calls: "done 1 ; done 2",
            list: &["1 buy milk (x)", "2 walk dog (x)", "3 pay bills"],
            reply: &[],
        },
        Case {
            tasks: THREE,
            says: &["show my tasks", "complete the first and the third"],
            calls: "done 1 ; done 3",
            list: &["1 buy milk (x)", "2 walk dog", "3 pay bills (x)"],
            reply: &[],
        },
        Case {
            tasks: THREE,
            says: &["show my tasks", "complete all of them"],
            calls: "done 1 ; done 2 ; done 3",
            list: &["1 buy milk (x)", "2 walk dog (x)", "3 pay bills (x)"],
            reply: &[],
        },
        Case {
            tasks: &["[x] a", "b", "c"],
            says: &["show pending tasks", "complete the first one"],
            calls: "done 2",
            list: &["1 a (x)", "2 b (x)", "3 c"],
            reply: &[],
        },
        Case {
            tasks: THREE,
            says: &["complete the second task"],
            calls: "list #100 ; done 2",
            list: &["1 buy milk", "2 walk dog (x)", "3 pay bills"],
            reply: &[],
        },
        Case {
            tasks: THREE,
            says: &["complete the last task"],
            calls: "list #100 ; done 3",
            list: &["1 buy milk", "2 walk dog", "3 pay bills (x)"],
            reply: &[],
        },
        Case {
            tasks: THREE,
            says: &["show my tasks", "complete the fifth one"],
            calls: "",
            list: SAME,
            reply: &["not that long"],
        },
        Case {
            tasks: &["x"],
            says: &["add buy milk", "mark it as done"],
            calls: "done 2",
            list: &["1 x", "2 buy milk (x)"],
            reply: &[],
        },
        Case {
            tasks: &["x"],
            says: &["add buy milk", "rename it to buy oat milk"],
            calls: "title 2 buy oat milk",
            list: &["1 x", "2 buy oat milk"],
            reply: &[],
        },
        Case {
            tasks: &["x"],
            says: &["add buy milk", "set its description to 2 litres"],
            calls: "describe 2 2 litres",
            list: &["1 x", "2 buy milk: 2 litres"],
            reply: &[],
        },
        Case {
            tasks: &["x"],
            says: &["add buy milk", "thanks", "complete that one"],
            calls: "done 2",
            list: &["1 x", "2 buy milk (x)"],
            reply: &[],
        },
        Case {
            tasks: &["x"],
            says: &["add buy milk", "delete it", "yes"],
            calls: "delete 2",
            list: &["1 x"],
            reply: &[],
        },
        Case {
            tasks: &["x"],
            says: &["add buy milk and mark it as done"],
            calls: "add buy milk ; done 2",
            list: &["1 x", "2 buy milk (x)"],
            reply: &["Added task 2", "Completed task 2"],
        },
        Case {
            tasks: &["x"],
            says: &["add a, b, c", "complete the second one"],
            calls: "done 3",
            list: &["1 x", "2 a", "3 b (x)", "4 c"],
            reply: &[],
        },
        Case {
            tasks: &["x"],
            says: &["add tea, bread, milk", "complete them"],
            calls: "done 2 ; done 3 ; done 4",
            list: &["1 x", "2 tea (x)", "3 bread (x)", "4 milk (x)"],
            reply: &[],
        },
        Case {
            tasks: THREE,
            says: &["complete it"],
            calls: "",
            list: SAME,
            reply: &["Which task should I complete?"],
        },
        Case {
            tasks: THREE,
            says: &["complete it", "2"],
            calls: "done 2",
            list: &["1 buy milk", "2 walk dog (x)", "3 pay bills"],
            reply: &[],
        },
        Case {
            tasks: THREE,
            says: &["show my tasks", "complete it"],
            calls: "",
            list: SAME,
            reply: &["Which task should I complete?", "2. [ ] walk dog"],
        },
        Case {
            tasks: THREE,
            says: &["complete 2", "undo"],
            calls: "reopen 2",
            list: SAME,
            reply: &["pending again"],
        },
        Case {
            tasks: THREE,
            says: &["complete 2", "undo that please"],
            calls: "reopen 2",
            list: SAME,
            reply: &[],
        },
        Case {
            tasks: THREE,
            says: &["complete 1 and 2", "undo"],
            calls: "reopen 1 ; reopen 2",
            list: SAME,
            reply: &[],
        },
        Case {
            tasks: THREE,
            says: &["complete 2", "it's not done yet"],
            calls: "reopen 2",
            list: SAME,
            reply: &[],
        },
        Case {
            tasks: THREE,
            says: &["complete 2", "not done yet"],
            calls: "reopen 2",
            list: SAME,
            reply: &[],
        },
        Case {
            tasks: THREE,
            says: &["add tea", "undo", "yes"],
            calls: "delete 4",
            list: SAME,
            reply: &[],
        },
        Case {
            tasks: THREE,
            says: &["show my tasks", "rename 2 to cat", "undo"],
            calls: "title 2 walk dog",
            list: SAME,
            reply: &[],
        },
        Case {
            tasks: THREE,
            says: &["undo"],
            calls: "",
            list: SAME,
            reply: &["nothing that I could undo"],
        },
        Case {
            tasks: &["buy milk", "sell milk"],
            says: &["anything about milk?", "complete the second one"],
            calls: "done 2",
            list: &["1 buy milk", "2 sell milk (x)"],
            reply: &[],
        },
    ]);
}

#[test]
fn what_is_missing_is_asked_for() {
    check(&[
        Case {
            tasks: &[],
            says: &["add a task"],
            calls: "",
            list: &[],
            reply: &["What should the new task be called?"],
        },
        Case {
            tasks: &[],
            says: &["add a task", "Buy milk"],
            calls: "add Buy milk",
            list: &["1 Buy milk"],
            reply: &["Added task 1"],
        },
        Case {
            tasks: &[],
            says: &["add a task", "complete the report"],
            calls: "add complete the report",
            list: &["1 complete the report"],
            reply: &[],
        },
        Case {
            tasks: &[],
            says: &["add a task", "never mind"],
            calls: "",
            list: &[],
            reply: &[],
        },
        Case {
            tasks: &["a"],
            says: &["add a task", "show my tasks"],
            calls: "list",
            list: &["1 a"],
            reply: &[],
        },
        Case {
            tasks: &[],
            says: &["call mom"],
            calls: "",
            list: &[],
            reply: &["Should I add a task called \"call mom\"?"],
        },
        Case {
            tasks: &[],
            says: &["call mom", "yes"],
            calls: "add call mom",
            list: &["1 call mom"],
            reply: &["Added task 1"],
        },
        Case {
            tasks: &[],
            says: &["call mom", "no"],
            calls: "",
            list: &[],
            reply: &[],
        },
        Case {
            tasks: THREE,
            says: &["rename task 2", "walk the cat"],
            calls: "title 2 walk the cat",
            list: &["1 buy milk", "2 walk the cat", "3 pay bills"],
            reply: &[],
        },
        Case {
            tasks: THREE,
            says: &["rename the dog task", "walk the cat"],
            calls: "title 2 walk the cat",
            list: &["1 buy milk", "2 walk the cat", "3 pay bills"],
            reply: &[],
        },
        Case {
            tasks: THREE,
            says: &["rename task 2", "call it walk the cat"],
            calls: "title 2 walk the cat",
            list: &["1 buy milk", "2 walk the cat", "3 pay bills"],
            reply: &[],
        },
        Case {
            tasks: THREE,
            says: &["set the description of 2", "a long walk"],
            calls: "describe 2 a long walk",
            list: &["1 buy milk", "2 walk dog: a long walk", "3 pay bills"],
            reply: &[],
        },
        Case {
            tasks: THREE,
            says: &["complete a task", "the second one"],
            calls: "list #100 ; done 2",
            list: &["1 buy milk", "2 walk dog (x)", "3 pay bills"],
            reply: &[],
        },
        Case {
            tasks: THREE,
            says: &["complete a task", "buy milk"],
            calls: "list ?buy milk ; done 1",
            list: &["1 buy milk (x)", "2 walk dog", "3 pay bills"],
            reply: &[],
        },
    ]);
}

#[test]
fn nothing_of_a_long_message_is_lost() {
    let words = "wörter und mehr ".repeat(120);
    let text = format!("Add a task to {}", words.trim_end());
    let text: String = text.chars().take(2_000).collect();
    let wanted = text.strip_prefix("Add a task to ").unwrap().trim_end();
    let mut chat = Chat::new(&[]);
    let reply = chat.say(&text);
    let task = &chat.tasks[0];
    assert!(
        task.title.chars().count() <= 255 && wanted.starts_with(&task.title),
        "{}",
        task.title
    );
    assert!(wanted[task.title.len()..].starts_with(' '));
    assert_eq!(task.description, wanted);
    assert!(reply.contains("Added task 1"));
}

#[test]
fn long_lists_come_in_pages_and_long_wishes_in_steps() {
    let titles: Vec<String> = (1..=70).map(|n| format!("task number {n}")).collect();
    let titles: Vec<&str> = titles.iter().map(String::as_str).collect();
    let mut chat = Chat::new(&titles);
    let reply = chat.say("show my tasks");
    assert!(reply.contains("1 to 50 of 70"), "{reply}");
    let reply = chat.say("show more");
    assert_eq!(chat.calls, ["list +50"]);
    assert!(reply.contains("70. [ ] task number 70"), "{reply}");
    let reply = chat.say("complete tasks 1-40");
    assert_eq!(chat.calls.len(), 40);
    assert!(reply.contains("Completed task 40"), "{reply}");
    chat.say("complete everything");
    assert!(chat.tasks.iter().all(|task| task.completed));
}

#[test]
fn it_says_what_it_is_and_greets_by_name() {
    let mut chat = Chat::new(&[]);
    let prompt = "You are Errand.\nThe user's name, in quotes, is \"Zoë\"; it is a name and nothing else.";
    chat.request.messages.push(Message::new("system", prompt));
    assert!(chat.say("hi!").contains("Zoë"));
    for question in [
        "who are you?",
        "are you ChatGPT?",
        "what model are you?",
        "Are you human?",
    ] {
        assert!(chat.say(question).contains("rule-based"), "{question}");
    }
    assert!(chat.say("what's my name?").contains("Zoë"));
    assert!(
        chat.say("what's the weather?")
            .contains("only help with your to-do list")
    );
}

#[test]
fn only_tools_on_offer_are_called() {
    for (text, tool) in [
        ("add milk", "add_task"),
        ("show my tasks", "list_tasks"),
        ("complete 1", "complete_task"),
    ] {
        let mut chat = Chat::new(&["a"]);
        chat.request
            .tools
            .as_mut()
            .unwrap()
            .retain(|offered| offered.function.name != tool);
        let reply = chat.say(text);
        assert!(chat.calls.is_empty(), "{text}");
        assert!(reply.contains(tool), "{reply}");
    }
    let mut chat = Chat::new(&["a"]);
    chat.request
        .tools
        .as_mut()
        .unwrap()
        .retain(|offered| offered.function.name != "list_tasks");
    chat.say("complete the milk task");
    assert!(chat.calls.is_empty());
    chat.request.tool_choice = Some(json!("none"));
    chat.say("add milk");
    assert!(chat.calls.is_empty());
}

#[test]
fn no_result_is_claimed_that_no_tool_gave() {
    let results = [
        ("not json", "cannot read"),
        ("{}", "cannot read"),
        (
            r#"{"success":false,"error":"VALIDATION_ERROR: title","message":"The title is too long."}"#,
            "The title is too long.",
        ),
        (
            r#"{"success":false,"error":"INTERNAL_ERROR: x","message":"Try again."}"#,
            "could not add \"milk\": Try again.",
        ),
        (
            r#"{"truncated":true,"message":"Too long.","beginning":"{"}"#,
            "Too long.",
        ),
    ];
    for (result, words) in results {
        let mut chat = Chat::new(&[]);
        let Answer::Call(calls) = chat.first("add milk") else {
            panic!()
        };
        let call = errand_model::wire::ToolCall::new(
            "c".into(),
            calls[0].name.clone(),
            calls[0].arguments.to_string(),
        );
        chat.request.messages.push(Message {
            tool_calls: Some(vec![call]),
            ..Message::new("assistant", "")
        });
        let answered = Message {
            tool_call_id: Some("c".into()),
            ..Message::new("tool", result)
        };
        chat.request.messages.push(answered);
        let Answer::Say(reply) = answer(&chat.request) else {
            panic!("{result}")
        };
        assert!(
            reply.contains(words) && !reply.contains("Added"),
            "{result}: {reply}"
        );
    }
}
