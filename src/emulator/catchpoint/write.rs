//! POST, PATCH and DELETE: what they change is what is read back.

use serde_json::{Map, Value, json};

use super::super::answer::Ask;
use super::page::find;
use super::world::{Collection, Instant, OBJECTS, Object, World};
use super::{Outcome, Problem, Said, Sight, missing};

const INSTANTS: usize = 10_000;

/// `POST tests`: the whole object; its number and division are the vendor's.
pub(super) fn create(world: &mut World, of: Collection, ask: &Ask, sight: Sight) -> Outcome {
    let Value::Object(mut fields) = body(ask)? else {
        return Err(Problem::bad("The payload must be a JSON object."));
    };
    let named = if of == Collection::Contacts { "email" } else { "name" };
    let Some(name) = fields.get(named).and_then(Value::as_str).map(str::to_owned) else {
        return Err(Problem::bad(format!("The field '{named}' is required.")));
    };
    if world.shelf(of).values().any(|object| object.value[named] == name.as_str()) {
        return Err(Problem::bad(format!("{} '{named}' already exists: '{name}'.", of.kind())));
    }
    if world.shelf(of).len() >= OBJECTS {
        return Err(Problem::bad(format!("There may be no more than {OBJECTS}.")));
    }
    let id = world.next_id(of);
    let asked = fields.get("divisionId").and_then(Value::as_i64);
    let division = match sight {
        Sight::Division(own) => own,
        Sight::All => asked.unwrap_or(101),
    };
    fields.insert("id".to_owned(), json!(id));
    fields.insert("divisionId".to_owned(), json!(division));
    let value = Value::Object(fields);
    world.put(of, id, Object { division: Some(division), value: value.clone() });
    let mut data = Map::from_iter([("id".to_owned(), json!(id))]);
    if ask.query.get("objectDetails").is_some_and(|wanted| wanted.eq_ignore_ascii_case("true")) {
        data.insert(of.kind().to_lowercase(), value);
    }
    Ok(Said::data(Value::Object(data)))
}

/// `PATCH tests/1`: JSON Patch with add, replace and remove. Number, division
/// and type cannot be changed; such paths are ignored and said so.
pub(super) fn change(world: &mut World, (of, id): (Collection, &str), ask: &Ask, sight: Sight) -> Outcome {
    let patch = body(ask)?;
    let operations = match patch {
        Value::Array(operations) => operations,
        one @ Value::Object(_) => vec![one],
        _ => return Err(Problem::bad("The payload must be a JSON Patch document.")),
    };
    let Some((id, object)) = find(world, of, id, sight) else {
        return Err(Problem::not_found(of.kind(), id));
    };
    let mut object = object.clone();
    let mut ignored = Vec::new();
    for operation in &operations {
        let path = operation["path"].as_str().ok_or_else(|| Problem::bad("The field 'path' is required."))?;
        if ["/id", "/divisionId", "/testType"].iter().any(|fixed| path.starts_with(fixed)) {
            ignored.push(path.to_owned());
        } else {
            apply(&mut object.value, operation, path)?;
        }
    }
    let said = Said { ignored, ..Said::data(json!({"id": id, of.kind().to_lowercase(): object.value})) };
    world.put(of, id, object);
    Ok(said)
}

/// `DELETE tests/1,2`: those that are there; the others are told as errors.
pub(super) fn remove(world: &mut World, of: Collection, ids: &str, sight: Sight) -> Outcome {
    let mut deleted = Vec::new();
    let mut errors = Vec::new();
    for text in ids.split(',').map(str::trim) {
        match find(world, of, text, sight).map(|(id, _)| id) {
            Some(id) => {
                world.shelf_mut(of).remove(&id);
                deleted.push(id.to_string());
            }
            None => errors.push(missing(of.kind(), text)),
        }
    }
    if deleted.is_empty() {
        return Err(Problem::NotFound(errors));
    }
    Ok(Said { errors, ..Said::data(json!({"deleted": deleted.join(",")})) })
}

/// `PATCH tests/alerts`: one or several `{alertId, acknowledgeAlert, …}`.
pub(super) fn acknowledge(world: &mut World, ask: &Ask, sight: Sight) -> Outcome {
    let changes = match body(ask)? {
        Value::Array(changes) => changes,
        one => vec![one],
    };
    let mut done = Vec::new();
    let mut errors = Vec::new();
    for change in &changes {
        let id = match &change["alertId"] {
            Value::String(id) => id.clone(),
            id => id.to_string(),
        };
        let slot = id.parse().ok().filter(|slot| super::analytics::alert(world, *slot, sight).is_some());
        let Some(slot) = slot else {
            errors.push(missing("Alert", &id));
            continue;
        };
        let by = change["assignToContactByEmail"].as_str().unwrap_or("api@example.com");
        match change["acknowledgeAlert"].as_bool() {
            Some(false) => drop(world.acknowledged.remove(&slot)),
            _ if world.acknowledged.len() < OBJECTS => drop(world.acknowledged.insert(slot, by.to_owned())),
            _ => return Err(Problem::bad(format!("There may be no more than {OBJECTS}."))),
        }
        done.push(id);
    }
    if done.is_empty() {
        return Err(Problem::NotFound(errors));
    }
    Ok(Said { errors, ..Said::data(json!({"alerts": done, "hasMore": false})) })
}

/// `POST instanttests` and `POST instanttests/{testId}`.
pub(super) fn start_instant(world: &mut World, ask: &Ask, test: Option<&str>, sight: Sight) -> Outcome {
    let body = body(ask)?;
    let (test, division) = match test {
        None => (0, if let Sight::Division(own) = sight { Some(own) } else { None }),
        Some(text) => {
            let found = find(world, Collection::Tests, text, sight);
            let (id, object) = found.ok_or_else(|| Problem::not_found("Test", text))?;
            (id, object.division)
        }
    };
    let id = world.instants.last_key_value().map_or(700_001, |(id, _)| id + 1);
    if world.instants.len() >= INSTANTS {
        world.instants.pop_first();
    }
    world.instants.insert(id, Instant { test, division, started: ask.now });
    let nodes = match &body["nodesIds"] {
        Value::Array(nodes) => nodes.clone(),
        _ => vec![json!(1)],
    };
    let nodes: Vec<_> = nodes.iter().map(|node| json!({"nodeId": node, "status": "Pending"})).collect();
    Ok(Said::data(json!({"id": id, "instantTestNodes": nodes})))
}

fn body(ask: &Ask) -> Result<Value, Problem> {
    serde_json::from_slice(&ask.body).map_err(|error| {
        Problem::bad(format!(
            "The payload could not be read at line {}, position {}.",
            error.line(),
            error.column()
        ))
    })
}

fn apply(object: &mut Value, operation: &Value, path: &str) -> Result<(), Problem> {
    let wrong = || Problem::bad(format!("The path '{path}' does not exist."));
    let (parent, last) = path.rsplit_once('/').ok_or_else(wrong)?;
    let parent = object.pointer_mut(parent).ok_or_else(wrong)?;
    let operator = operation["op"].as_str().unwrap_or_default().to_ascii_lowercase();
    match (operator.as_str(), parent) {
        ("add" | "replace", Value::Object(fields)) => {
            fields.insert(last.to_owned(), operation["value"].clone());
        }
        ("remove", Value::Object(fields)) => {
            fields.remove(last).ok_or_else(wrong)?;
        }
        ("add", Value::Array(items)) if last == "-" => items.push(operation["value"].clone()),
        ("replace", Value::Array(items)) => {
            let index: usize = last.parse().map_err(|_| wrong())?;
            *items.get_mut(index).ok_or_else(wrong)? = operation["value"].clone();
        }
        ("remove", Value::Array(items)) => {
            let index: usize = last.parse().map_err(|_| wrong())?;
            if index >= items.len() {
                return Err(wrong());
            }
            items.remove(index);
        }
        _ => return Err(Problem::bad("Only the operations add, remove and replace are supported.")),
    }
    Ok(())
}
