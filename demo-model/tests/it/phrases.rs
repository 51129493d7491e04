//! Tables: one message, and the calls of the first answer.

use errand_model::brain::Answer;

use crate::pretended::{Chat, short};

/// The first calls, joined by ` ; `, or `-` where the brain only talks.
fn first_calls(text: &str) -> String {
    let mut chat = Chat::new(&["buy milk", "walk dog", "pay bills", "call mom", "read"]);
    match chat.first(text) {
        Answer::Say(_) => "-".to_owned(),
        Answer::Call(calls) => calls.iter().map(short).collect::<Vec<_>>().join(" ; "),
    }
}

fn check(table: &[(&str, &str)]) {
    let wrong: Vec<String> = table
        .iter()
        .map(|(text, expected)| (text, expected, first_calls(text)))
        .filter(|(_, expected, calls)| calls != **expected)
        .map(|(text, expected, calls)| format!("{text:?}\n  expected {expected}\n  made     {calls}"))
        .collect();
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        table.len(),
        wrong.join("\n")
    );
}

#[test]
fn adding_in_many_phrasings() {
    check(&[
        ("Add a task to buy milk", "add buy milk"),
        ("add a task to buy milk.", "add buy milk"),
        ("Add task: buy milk", "add buy milk"),
        ("add task buy milk", "add buy milk"),
        ("add buy milk", "add buy milk"),
        ("Add buy milk please", "add buy milk"),
        ("please add buy milk, thanks", "add buy milk"),
        ("Can you add a task to buy milk?", "add buy milk"),
        ("could you please add buy milk to my list?", "add buy milk"),
        ("Hi! Could you add 'buy milk' to my to-do list?", "add buy milk"),
        ("I want to add a task to buy milk", "add buy milk"),
        ("I'd like to add a new task: buy milk", "add buy milk"),
        ("remind me to call mom", "add call mom"),
        (
            "Remind me to call Mom tomorrow at 5pm",
            "add call Mom tomorrow at 5pm",
        ),
        ("please remind me to call mom", "add call mom"),
        ("can you remind me to call mom?", "add call mom"),
        ("create a task called 'x'", "add x"),
        ("Create a task called Write the report", "add Write the report"),
        (
            "create a new task named \"Plan: phase 1, 2 and 3\"",
            "add Plan: phase 1, 2 and 3",
        ),
        ("create a todo titled groceries", "add groceries"),
        ("I need to buy bread", "add buy bread"),
        ("i have to pay the rent", "add pay the rent"),
        ("I've got to renew my passport", "add renew my passport"),
        ("I must finish the report", "add finish the report"),
        ("i should clean the garage", "add clean the garage"),
        ("we need to book flights", "add book flights"),
        ("don't let me forget to water the plants", "add water the plants"),
        ("Don’t let me forget to water the plants!", "add water the plants"),
        ("don't forget to lock the door", "add lock the door"),
        ("I can't forget to send the invoice", "add send the invoice"),
        ("make sure I call the bank", "add call the bank"),
        ("help me remember to stretch", "add stretch"),
        ("remember to buy stamps", "add buy stamps"),
        ("put eggs on my list", "add eggs"),
        ("put 'call the dentist' on my todo list", "add call the dentist"),
        ("Put buy stamps on the to do list please", "add buy stamps"),
        ("add eggs to my shopping list", "add eggs"),
        ("new task: walk the cat", "add walk the cat"),
        ("New task - walk the cat", "add walk the cat"),
        ("new todo walk the cat", "add walk the cat"),
        ("task: walk the cat", "add walk the cat"),
        ("todo: walk the cat", "add walk the cat"),
        ("note to self: check tyres", "add check tyres"),
        (
            "make a task for the dentist appointment",
            "add the dentist appointment",
        ),
        ("set a reminder to feed the fish", "add feed the fish"),
        ("set a reminder for the meeting", "add the meeting"),
        ("jot down ideas for the party", "add ideas for the party"),
        ("I need a reminder to buy cake", "add buy cake"),
        ("add to my list: buy candles", "add buy candles"),
        ("Add a task to my list: buy candles", "add buy candles"),
        ("schedule a meeting with Bob", "add a meeting with Bob"),
        ("add read chapter 3", "add read chapter 3"),
        ("add task 7 wonders documentary", "add 7 wonders documentary"),
        (
            "add a task to review pull request #42",
            "add review pull request #42",
        ),
        ("add a task to talk to Bob", "add talk to Bob"),
        ("add talk to the landlord", "add talk to the landlord"),
        ("Add a reminder to complete the form", "add complete the form"),
        ("add a task to delete old files", "add delete old files"),
        ("add a task to show Bob the list", "add show Bob the list"),
        ("remind me to mark the exams", "add mark the exams"),
        (
            "I need to finish the slides and rehearse them",
            "add finish the slides and rehearse them",
        ),
    ]);
}

#[test]
fn descriptions_after_the_title() {
    check(&[
        (
            "add task buy milk with description 2 litres",
            "add buy milk | 2 litres",
        ),
        (
            "Add a task buy milk with the description: 2 litres, semi-skimmed",
            "add buy milk | 2 litres, semi-skimmed",
        ),
        (
            "add a task to buy milk, description: 2 litres",
            "add buy milk | 2 litres",
        ),
        ("add buy milk - description: 2 litres", "add buy milk | 2 litres"),
        ("add 'buy milk': 2 litres", "add buy milk | 2 litres"),
        ("add \"buy milk\" - 2 litres", "add buy milk | 2 litres"),
        (
            "create a task called 'buy milk' with description 'two litres'",
            "add buy milk | two litres",
        ),
        (
            "create a task titled buy milk and description two litres",
            "add buy milk | two litres",
        ),
        ("add buy milk (note: organic)", "add buy milk | organic"),
        (
            "add buy milk with a note saying get the blue one",
            "add buy milk | get the blue one",
        ),
        (
            "remind me to call mom, notes: ask about Sunday",
            "add call mom | ask about Sunday",
        ),
        (
            "add task buy milk description 2 litres",
            "add buy milk | 2 litres",
        ),
        (
            "add write the description of the product",
            "add write the description of the product",
        ),
        (
            "add a task to buy milk\nthe blue one\nfrom the corner shop",
            "add buy milk | the blue one\nfrom the corner shop",
        ),
        ("add buy milk: the blue one", "add buy milk: the blue one"),
    ]);
}

#[test]
fn several_titles_at_once() {
    check(&[
        (
            "add milk, walk dog and pay bills",
            "add milk ; add walk dog ; add pay bills",
        ),
        (
            "Add milk, walk dog, and pay bills.",
            "add milk ; add walk dog ; add pay bills",
        ),
        (
            "add tasks: milk, bread and eggs",
            "add milk ; add bread ; add eggs",
        ),
        (
            "add the following tasks: call Bob; email Ann; fix the door",
            "add call Bob ; add email Ann ; add fix the door",
        ),
        ("add three tasks: a, b, c", "add a ; add b ; add c"),
        (
            "add 'milk', 'bread & butter' and 'tea'",
            "add milk ; add bread & butter ; add tea",
        ),
        (
            "add buy milk, walk the dog and pay the bills to my list",
            "add buy milk ; add walk the dog ; add pay the bills",
        ),
        (
            "remind me to call mom, pay rent and buy milk",
            "add call mom ; add pay rent ; add buy milk",
        ),
        (
            "add these tasks:\n- buy milk\n- walk the dog\n- pay bills",
            "add buy milk ; add walk the dog ; add pay bills",
        ),
        (
            "add tasks:\n1. buy milk\n2. walk the dog",
            "add buy milk ; add walk the dog",
        ),
        ("add buy milk and walk the dog", "add buy milk ; add walk the dog"),
        ("add buy milk, eggs and bread", "add buy milk, eggs and bread"),
        ("add a task to buy milk and eggs", "add buy milk and eggs"),
        (
            "add a task to buy milk, eggs, and bread",
            "add buy milk, eggs, and bread",
        ),
        (
            "add dinner with Bob, Friday at 7",
            "add dinner with Bob, Friday at 7",
        ),
        (
            "add a task called milk, eggs and bread",
            "add milk, eggs and bread",
        ),
        ("add buy milk and add call mom", "add buy milk ; add call mom"),
        (
            "add buy milk. Remind me to call mom.",
            "add buy milk ; add call mom",
        ),
        (
            "remind me to buy milk and remind me to call mom",
            "add buy milk ; add call mom",
        ),
    ]);
}

#[test]
fn titles_stay_as_typed() {
    check(&[
        ("Add a task to Buy MILK for Zoë", "add Buy MILK for Zoë"),
        ("add a task to 买牛奶", "add 买牛奶"),
        ("add task: купить молоко и хлеб", "add купить молоко и хлеб"),
        ("Add a task to اشترِ الحليب", "add اشترِ الحليب"),
        ("add a task to buy 🥛 and 🍞!!!", "add buy 🥛 and 🍞!!!"),
        ("add a task to by mlik adn tsk", "add by mlik adn tsk"),
        (
            "add task: read \"War and Peace\" again",
            "add read \"War and Peace\" again",
        ),
        ("add a task called \"say \"hi\" to Bob\"", "add say \"hi\" to Bob"),
        ("add don't panic", "add don't panic"),
        ("add a task to pay $20 to AT&T", "add pay $20 to AT&T"),
        ("add call mom @ 5:30 (urgent)", "add call mom @ 5:30 (urgent)"),
        ("add e-mail  the   team", "add e-mail  the   team"),
        ("Add task: Wer weiß?", "add Wer weiß?"),
        ("remind me to ask Bob \"why?\"", "add ask Bob \"why?\""),
    ]);
}

#[test]
fn looking_at_the_list() {
    check(&[
        ("Show me all my tasks", "list"),
        ("show my tasks", "list"),
        ("list tasks", "list"),
        ("list", "list"),
        ("my tasks", "list"),
        ("tasks", "list"),
        ("What's on my list?", "list"),
        ("what are my tasks?", "list"),
        ("what tasks do I have", "list"),
        ("can you show me my to-do list please?", "list"),
        ("I want to see my tasks", "list"),
        ("display all tasks", "list"),
        ("view my todo list", "list"),
        ("do i have any tasks?", "list"),
        ("how many tasks do I have?", "list"),
        ("give me my task list", "list"),
        ("what's pending?", "list pending"),
        ("what is left?", "list pending"),
        ("What do I have to do?", "list pending"),
        ("what do i still need to do today", "list pending"),
        ("what do I have left", "list pending"),
        ("show pending tasks", "list pending"),
        ("show me my open tasks", "list pending"),
        ("list incomplete tasks", "list pending"),
        ("which tasks are not done yet?", "list pending"),
        ("what haven't I finished", "list pending"),
        ("show unfinished tasks", "list pending"),
        ("pending tasks", "list pending"),
        ("show completed tasks", "list done"),
        ("what have I done?", "list done"),
        ("What have I completed so far", "list done"),
        ("list all done tasks", "list done"),
        ("which tasks are finished?", "list done"),
        ("what did I finish?", "list done"),
        ("anything about milk?", "list ?milk"),
        ("do I have anything about milk?", "list ?milk"),
        ("is there a task about milk", "list ?milk"),
        ("search for milk", "list ?milk"),
        ("find milk", "list ?milk"),
        ("find tasks about the dentist", "list ?dentist"),
        ("show tasks containing 'oat milk'", "list ?oat milk"),
        ("show me tasks about milk", "list ?milk"),
        ("show pending tasks about milk", "list pending ?milk"),
        ("is milk on my list?", "list ?milk"),
        ("which tasks mention mom?", "list ?mom"),
        ("look for bills in my tasks", "list ?bills"),
        ("show the milk tasks", "list ?milk"),
        ("show the first 3 tasks", "list #3"),
        ("show task 2", "list #100"),
        ("what is task 2?", "list #100"),
        ("is task 2 done?", "list #100"),
        ("hi, what's on my list today?", "list"),
    ]);
}

#[test]
fn completing_and_reopening() {
    check(&[
        ("Mark task 1 as done", "done 1"),
        ("mark 1 as done", "done 1"),
        ("mark task #1 as complete", "done 1"),
        ("mark task 1 done", "done 1"),
        ("mark task one as completed", "done 1"),
        ("complete task 1", "done 1"),
        ("complete 1, 3 and 5", "done 1 ; done 3 ; done 5"),
        ("complete 1,3,5", "done 1 ; done 3 ; done 5"),
        ("complete tasks 1-3", "done 1 ; done 2 ; done 3"),
        ("complete tasks 1 to 3", "done 1 ; done 2 ; done 3"),
        ("mark tasks 1 and 2 as done", "done 1 ; done 2"),
        ("finish task 2", "done 2"),
        ("task 2 is done", "done 2"),
        ("task 2 done", "done 2"),
        ("I finished task 2", "done 2"),
        ("I've done number 3", "done 3"),
        ("done with 3", "done 3"),
        ("I'm done with task 3", "done 3"),
        ("tick off 3", "done 3"),
        ("check off task 2", "done 2"),
        ("check task 2 off my list", "done 2"),
        ("cross 2 off", "done 2"),
        ("set task 2 to done", "done 2"),
        ("change task 2 to completed", "done 2"),
        ("can you mark task 1 as done please?", "done 1"),
        ("please complete task number 4", "done 4"),
        ("I want to complete task 2", "done 2"),
        ("I need to complete task 2", "done 2"),
        ("mark buy milk as done", "list ?buy milk"),
        ("mark 'buy milk' as done", "list ?buy milk"),
        ("mark the milk task as done", "list ?milk"),
        ("complete the task called buy milk", "list ?buy milk"),
        ("I finished buy milk", "list ?buy milk"),
        ("buy milk is done", "list ?buy milk"),
        ("complete buy milk", "list ?buy milk"),
        ("mark everything as done", "list pending #100"),
        ("complete all tasks", "list pending #100"),
        ("reopen task 2", "reopen 2"),
        ("mark task 2 as not done", "reopen 2"),
        ("mark task 2 as incomplete", "reopen 2"),
        ("mark 2 as pending", "reopen 2"),
        ("task 2 is not done yet", "reopen 2"),
        ("task 2 isn't finished", "reopen 2"),
        ("I haven't finished task 2", "reopen 2"),
        ("uncheck task 2", "reopen 2"),
        ("undo task 2", "reopen 2"),
        ("unmark 2 and 3", "reopen 2 ; reopen 3"),
        ("set task 2 back to pending", "reopen 2"),
        ("change task 2 to not done", "reopen 2"),
        ("reopen the milk task", "list ?milk"),
    ]);
}

#[test]
fn changing() {
    check(&[
        ("rename task 2 to walk the cat", "title 2 walk the cat"),
        ("Rename 2 to 'Walk the Cat'", "title 2 Walk the Cat"),
        ("rename task 2 to go to the shop", "title 2 go to the shop"),
        ("change task 2 to walk the cat", "title 2 walk the cat"),
        ("update task 2 to walk the cat", "title 2 walk the cat"),
        (
            "change the title of task 2 to walk the cat",
            "title 2 walk the cat",
        ),
        ("change task 2's title to walk the cat", "title 2 walk the cat"),
        ("set the name of task 2 to Zoë", "title 2 Zoë"),
        ("call task 2 walk the cat instead", "title 2 walk the cat"),
        ("edit task 2: walk the cat", "title 2 walk the cat"),
        ("task 2 should be called walk the cat", "title 2 walk the cat"),
        ("task 2 should say walk the cat", "title 2 walk the cat"),
        ("can you rename task 2 to walk the cat?", "title 2 walk the cat"),
        ("change walk dog to walk the cat", "list ?walk dog"),
        ("rename 'walk dog' to walk the cat", "list ?walk dog"),
        ("replace walk dog with walk the cat", "list ?walk dog"),
        (
            "set the description of 2 to use the long lead",
            "describe 2 use the long lead",
        ),
        (
            "set description of task 2 to: use the long lead",
            "describe 2 use the long lead",
        ),
        (
            "change task 2's description to use the lead",
            "describe 2 use the lead",
        ),
        (
            "update the description for task 2 to use the lead",
            "describe 2 use the lead",
        ),
        ("describe task 2 as a long walk", "describe 2 a long walk"),
        ("task 2 description: a long walk", "describe 2 a long walk"),
        (
            "give task 2 the description 'a long walk'",
            "describe 2 a long walk",
        ),
        ("add a note to task 2: call first", "list #100"),
        ("add a description to task 2: call first", "list #100"),
        ("clear the description of 2", "describe 2 "),
        ("remove the description from task 2", "describe 2 "),
        ("delete task 2's description", "describe 2 "),
    ]);
}

#[test]
fn nothing_is_deleted_before_it_is_confirmed() {
    check(&[
        ("delete task 2", "list #100"),
        ("delete 2", "list #100"),
        ("remove task 2", "list #100"),
        ("Delete tasks 1 and 2", "list #100"),
        ("get rid of task 2", "list #100"),
        ("remove task 2 from my list", "list #100"),
        ("take milk off my list", "list ?milk"),
        ("delete the milk task", "list ?milk"),
        ("delete buy milk", "list ?buy milk"),
        ("remove 'buy milk' from the list", "list ?buy milk"),
        ("delete all completed tasks", "list done #100"),
        ("delete everything", "list #100"),
        ("clear my list", "list #100"),
        ("clear completed tasks", "list done #100"),
        ("cancel task 3", "list #100"),
        ("I don't need task 2 anymore", "list #100"),
        ("erase the last task", "list #100"),
        ("delete a task", "-"),
    ]);
}

#[test]
fn several_wishes_in_one_message() {
    check(&[
        ("add milk and mark task 2 as done", "add milk ; done 2"),
        ("add buy milk and mark task 2 as done", "add buy milk ; done 2"),
        (
            "add milk, complete 2 and show my tasks",
            "add milk ; done 2 ; list",
        ),
        (
            "Add buy milk. Mark task 2 as done. Show my tasks.",
            "add buy milk ; done 2 ; list",
        ),
        (
            "complete 1 and 2, and then rename 3 to pay the bills",
            "done 1 ; done 2 ; title 3 pay the bills",
        ),
        ("mark task 1 as done and task 2 as not done", "done 1 ; reopen 2"),
        (
            "rename task 2 to walk the cat and mark it as done",
            "title 2 walk the cat ; done 2",
        ),
        ("complete 1; reopen 2; add tea", "done 1 ; reopen 2 ; add tea"),
        ("hi! add milk please. thanks!", "add milk"),
        (
            "complete task 1 then add a task to buy bread",
            "done 1 ; add buy bread",
        ),
        ("mark 1 as done\nadd bread", "done 1 ; add bread"),
        ("what's pending? also add milk", "list pending ; add milk"),
        (
            "rename 2 to walk the cat and set its description to use the lead",
            "title 2 walk the cat ; describe 2 use the lead",
        ),
        ("delete task 2 and add milk", "list #100 ; add milk"),
    ]);
}

#[test]
fn typing_errors_in_keywords() {
    check(&[
        ("ad a tsk to by milk", "add by milk"),
        ("add a taks to buy milk", "add buy milk"),
        ("creat a task to buy milk", "add buy milk"),
        ("craete a tsak called milk", "add milk"),
        ("remnid me to call mom", "add call mom"),
        ("shwo my taks", "list"),
        ("show my tsaks", "list"),
        ("lsit my tasks", "list"),
        ("shwo pendign tasks", "list pending"),
        ("mrak task 1 as doen", "done 1"),
        ("mark taks 1 as doen", "done 1"),
        ("compelte task 2", "done 2"),
        ("delte task 2", "list #100"),
        ("deleet task 2", "list #100"),
        ("renmae task 2 to walk the cat", "title 2 walk the cat"),
        ("pls shwo me teh taks", "list"),
    ]);
}

#[test]
fn talk_needs_no_tool() {
    check(&[
        ("hi", "-"),
        ("Hello!", "-"),
        ("hello there, how are you?", "-"),
        ("good morning", "-"),
        ("thanks", "-"),
        ("thank you so much!", "-"),
        ("ok great", "-"),
        ("bye", "-"),
        ("who are you?", "-"),
        ("are you a human?", "-"),
        ("what model are you", "-"),
        ("what can you do?", "-"),
        ("help", "-"),
        ("yes", "-"),
        ("no", "-"),
        ("never mind", "-"),
        ("what's the weather today?", "-"),
        ("what is the weather in Paris?", "-"),
        ("tell me a joke", "-"),
        ("what is 2 + 2?", "-"),
        ("write a python function that sorts a list", "-"),
        ("write me a poem about tasks", "-"),
        ("who won the world cup?", "-"),
        ("translate hello to French", "-"),
        ("what's the capital of France", "-"),
        ("calculate 17 * 23", "-"),
        ("asdf qwer", "-"),
        ("🙂", "-"),
        ("call mom", "-"),
        ("add", "-"),
        ("add a task", "-"),
        ("rename task 2", "-"),
        ("", "-"),
        ("¿Qué tiempo hace?", "-"),
    ]);
}
