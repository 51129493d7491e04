//! What the task routes take and give.

use errand_shared::storage::tasks::Task;
use errand_task_tools::rules;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::http::{
    cursor::TaskOffset,
    error::ApiError,
    query::{FromQuery, Params},
};

/// A page of tasks.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TaskPage {
    /// The tasks in the order they were added.
    items: Vec<Task>,
    /// How many there are over all pages.
    total: i64,
    /// `cursor` of the next page, or null at the end.
    #[schema(required = true)]
    next_cursor: Option<String>,
}

impl TaskPage {
    /// The page that begins at an offset.
    pub(super) fn new(items: Vec<Task>, total: i64, offset: i64) -> Self {
        let end = offset.saturating_add(i64::try_from(items.len()).unwrap_or(i64::MAX));
        let next_cursor = (end < total).then(|| TaskOffset { offset: end }.encode());
        Self {
            items,
            total,
            next_cursor,
        }
    }
}

/// Which tasks.
#[derive(Debug)]
pub(super) struct Which {
    pub(super) completed: Option<bool>,
    pub(super) search: Option<String>,
    pub(super) limit: i64,
    pub(super) offset: i64,
}

impl FromQuery for Which {
    fn from_query(params: &Params) -> Result<Self, ApiError> {
        let search = params.text("search")?.map(rules::search).transpose()?.flatten();
        let offset = match (
            params.cursor("cursor", TaskOffset::decode)?,
            params.integer("offset")?,
        ) {
            (Some(_), Some(_)) => return Err(ApiError::invalid("cursor", "must not be given beside offset")),
            (Some(cursor), None) => cursor.offset,
            (None, offset) => rules::offset(offset)?,
        };
        Ok(Self {
            completed: params.boolean("completed")?,
            search: search.map(str::to_owned),
            limit: params.limit()?,
            offset,
        })
    }
}

/// A task to add.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct NewTask {
    /// 1 to 255 characters, not all of them white space, without U+0000.
    #[schema(min_length = 1, max_length = 255)]
    pub(super) title: String,
    /// Up to 2000 characters without U+0000; an empty one is none.
    #[serde(default)]
    #[schema(max_length = 2000)]
    pub(super) description: Option<String>,
}

/// What to change of a task: at least one of these.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(min_properties = 1)]
pub(super) struct ChangeTask {
    /// 1 to 255 characters, not all of them white space, without U+0000.
    #[serde(default, deserialize_with = "given")]
    #[schema(min_length = 1, max_length = 255, nullable = false)]
    pub(super) title: Option<String>,
    /// Up to 2000 characters without U+0000; null or an empty one clears it.
    #[serde(default, deserialize_with = "given_or_null")]
    #[schema(max_length = 2000)]
    pub(super) description: Option<String>,
    /// Whether it is done.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    pub(super) completed: Option<bool>,
}

/// Reads a member that is there, so that null is not taken for an absent one.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(member: D) -> Result<Option<T>, D::Error> {
    T::deserialize(member).map(Some)
}

/// Reads a text that is there, null as an empty one.
fn given_or_null<'de, D: Deserializer<'de>>(member: D) -> Result<Option<String>, D::Error> {
    Option::deserialize(member).map(|text| Some(text.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn which(query: &str) -> Result<Which, String> {
        let params = Params::of(&format!("/tasks?{query}").parse().unwrap()).unwrap();
        Which::from_query(&params).map_err(|error| match error {
            ApiError::Invalid(errors) => errors[0].field.clone(),
            other => panic!("{other:?}"),
        })
    }

    fn tasks(count: usize) -> Vec<Task> {
        let time = chrono::DateTime::UNIX_EPOCH;
        let task = |id| Task {
            id,
            title: "milk".to_owned(),
            description: None,
            completed: false,
            created_at: time,
            updated_at: time,
        };
        (1..).map(task).take(count).collect()
    }

    #[test]
    fn a_list_is_asked_for_by_filter_and_place() {
        let all = which("").unwrap();
        assert_eq!(
            (all.completed, all.search, all.limit, all.offset),
            (None, None, 50, 0)
        );
        let some = which("completed=false&search=milk&limit=5&offset=7&x=y").unwrap();
        assert_eq!((some.completed, some.limit, some.offset), (Some(false), 5, 7));
        assert_eq!(some.search.as_deref(), Some("milk"));
        assert_eq!(which("search=%20").unwrap().search, None);
        let cursor = TaskOffset { offset: 20 }.encode();
        assert_eq!(which(&format!("cursor={cursor}")).unwrap().offset, 20);
    }

    #[test]
    fn a_parameter_that_breaks_a_rule_is_named() {
        let cursor = TaskOffset { offset: 20 }.encode();
        let cases = [
            ("completed=maybe".to_owned(), "completed"),
            ("search=%00".to_owned(), "search"),
            (format!("search={}", "x".repeat(256)), "search"),
            ("limit=0".to_owned(), "limit"),
            ("limit=101".to_owned(), "limit"),
            ("offset=-1".to_owned(), "offset"),
            ("cursor=x".to_owned(), "cursor"),
            (format!("cursor={cursor}&offset=20"), "cursor"),
        ];
        for (query, field) in cases {
            assert_eq!(which(&query).unwrap_err(), field, "{query}");
        }
    }

    #[test]
    fn pages_follow_each_other_to_the_end() {
        let next = |page: &TaskPage| page.next_cursor.as_deref().and_then(TaskOffset::decode);
        assert_eq!(
            next(&TaskPage::new(tasks(2), 5, 0)),
            Some(TaskOffset { offset: 2 })
        );
        assert_eq!(
            next(&TaskPage::new(tasks(2), 5, 2)),
            Some(TaskOffset { offset: 4 })
        );
        for (count, total, offset) in [(1, 5, 4), (5, 5, 0), (0, 0, 0), (0, 5, 9), (0, 5, i64::MAX)] {
            assert_eq!(TaskPage::new(tasks(count), total, offset).next_cursor, None);
        }
    }

    #[test]
    fn null_clears_a_description_and_is_no_title() {
        let change = |json| serde_json::from_str::<ChangeTask>(json);
        let described = |json| change(json).unwrap().description;
        assert_eq!(described("{}"), None);
        assert_eq!(described(r#"{"description":null}"#).as_deref(), Some(""));
        assert_eq!(described(r#"{"description":""}"#).as_deref(), Some(""));
        assert_eq!(described(r#"{"description":"x"}"#).as_deref(), Some("x"));
        assert!(change(r#"{"title":null}"#).is_err());
        assert!(change(r#"{"completed":null}"#).is_err());
    }
}
