//! Queries, bodies and pages of the task routes.

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
    /// The tasks, oldest first.
    items: Vec<Task>,
    /// The number of tasks on all pages.
    total: i64,
    /// The `cursor` of the next page, or null on the last page.
    #[schema(required = true)]
    next_cursor: Option<String>,
}

impl TaskPage {
    /// The page that starts at `offset`.
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

/// The query of `list_tasks`.
#[derive(Debug)]
pub(super) struct TaskQuery {
    pub(super) completed: Option<bool>,
    pub(super) search: Option<String>,
    pub(super) limit: i64,
    pub(super) offset: i64,
}

impl FromQuery for TaskQuery {
    fn from_query(params: &Params) -> Result<Self, ApiError> {
        let search = params.text("search")?.map(rules::search).transpose()?.flatten();
        let offset = match (
            params.cursor("cursor", TaskOffset::decode)?,
            params.integer("offset")?,
        ) {
            (Some(_), Some(_)) => return Err(ApiError::invalid("cursor", "cannot be combined with offset")),
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

/// A new task.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct NewTask {
    /// The title: 1 to 255 characters, not blank, without U+0000.
    #[schema(min_length = 1, max_length = 255)]
    pub(super) title: String,
    /// The description: at most 2000 characters, without U+0000. An empty description is stored as null.
    #[serde(default)]
    #[schema(max_length = 2000)]
    pub(super) description: Option<String>,
}

/// Changes to a task. At least one field is required.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(min_properties = 1)]
pub(super) struct ChangeTask {
    /// The title: 1 to 255 characters, not blank, without U+0000.
    #[serde(default, deserialize_with = "present")]
    #[schema(min_length = 1, max_length = 255, nullable = false)]
    pub(super) title: Option<String>,
    /// The description: at most 2000 characters, without U+0000. Null or an empty string removes it.
    #[serde(default, deserialize_with = "present_or_null")]
    #[schema(max_length = 2000)]
    pub(super) description: Option<String>,
    /// Whether the task is completed.
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false)]
    pub(super) completed: Option<bool>,
}

/// Deserializes a present field, so that null is an error and not an absent field.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(member: D) -> Result<Option<T>, D::Error> {
    T::deserialize(member).map(Some)
}

/// Deserializes a present field, and null as an empty string.
fn present_or_null<'de, D: Deserializer<'de>>(member: D) -> Result<Option<String>, D::Error> {
    Option::deserialize(member).map(|text| Some(text.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Result<TaskQuery, String> {
        let params = Params::of(&format!("/tasks?{query}").parse().unwrap()).unwrap();
        TaskQuery::from_query(&params).map_err(|error| match error {
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
    fn a_query_has_filters_and_a_position() {
        let all = parse("").unwrap();
        assert_eq!(
            (all.completed, all.search, all.limit, all.offset),
            (None, None, 50, 0)
        );
        let some = parse("completed=false&search=milk&limit=5&offset=7&x=y").unwrap();
        assert_eq!((some.completed, some.limit, some.offset), (Some(false), 5, 7));
        assert_eq!(some.search.as_deref(), Some("milk"));
        assert_eq!(parse("search=%20").unwrap().search, None);
        let cursor = TaskOffset { offset: 20 }.encode();
        assert_eq!(parse(&format!("cursor={cursor}")).unwrap().offset, 20);
    }

    #[test]
    fn an_invalid_parameter_is_named() {
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
            assert_eq!(parse(&query).unwrap_err(), field, "{query}");
        }
    }

    #[test]
    fn pages_continue_until_the_end() {
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
    fn null_removes_a_description_and_is_invalid_as_a_title() {
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
