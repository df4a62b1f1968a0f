//! What the objects of the account look like before anybody changes them.

use serde_json::{Value, json};

use super::world::{Collection, Object, World, pick, signed};

const CITIES: [(&str, &str); 8] = [
    ("Frankfurt", "Germany"),
    ("Ashburn", "United States"),
    ("Sao Paulo", "Brazil"),
    ("Singapore", "Singapore"),
    ("London", "United Kingdom"),
    ("Sydney", "Australia"),
    ("Mumbai", "India"),
    ("Johannesburg", "South Africa"),
];
const PROVIDERS: [&str; 5] = ["Telia", "Lumen", "NTT", "Cogent", "Zayo"];
const PLACES: [&str; 8] =
    ["Home", "Checkout", "Search", "Login", "Product page", "Basket", "Health", "Images"];
const PEOPLE: [&str; 6] = ["Ada", "Grace", "Alan", "Edsger", "Barbara", "Donald"];

/// The object with this index among those of its kind.
pub(super) fn make(world: &World, of: Collection, index: u64) -> Object {
    let id = of.first() + signed(index);
    match of {
        Collection::Tests => test(world, index),
        Collection::Nodes => node(world, index),
        Collection::Products => product(world, id, index),
        Collection::Folders => folder(world, id, index),
        Collection::Labels => label(world, id, index),
        Collection::Contacts => contact(world, id, index),
        Collection::Divisions => division(id, division_name(world, id)),
    }
}

/// Such as `London, United Kingdom - NTT 3`.
pub(super) fn node_name(world: &World, index: u64) -> String {
    let (city, country) = pick(&CITIES, index);
    format!("{city}, {country} - {} {}", pick(&PROVIDERS, world.made_up(1, index)), index / 8 + 1)
}

pub(super) fn division(id: i64, name: &str) -> Object {
    Object { division: Some(id), value: json!({"id": id, "name": name, "status": status(true)}) }
}

fn division_name(world: &World, id: i64) -> &str {
    let index = usize::try_from(id - Collection::Divisions.first()).unwrap_or(usize::MAX);
    world.divisions.get(index).map_or("", String::as_str)
}

fn test(world: &World, index: u64) -> Object {
    let (id, of) = world.original_test(index);
    let product = index % u64::from(world.products);
    let folder = product + u64::from(world.products) * (world.made_up(2, index) % 3);
    let place = pick(&PLACES, world.made_up(3, index));
    let value = json!({
        "id": id,
        "divisionId": of,
        "productId": Collection::Products.first() + signed(product),
        "folderId": Collection::Folders.first() + signed(folder),
        "name": format!("{place} {}", index + 1),
        "description": format!("Watches {place}."),
        "url": format!("https://shop{}.example.com/", index % 17),
        "monitor": {"id": 18, "name": "Chrome"},
        "testType": {"id": 0, "name": "Web"},
        "status": status(!world.made_up(4, index).is_multiple_of(10)),
        "alertsPaused": false,
        "enableTestDataWebhook": false,
        "changeDate": "2026-01-15T08:30:00",
        "startTime": "2026-01-15T08:30:00",
        "endTime": "2028-01-15T08:30:00",
        "requestHttpMethod": {"id": 0, "name": "GET"},
        "labels": [],
    });
    Object { division: Some(of), value }
}

/// A node of the vendor's own network: everybody's.
fn node(world: &World, index: u64) -> Object {
    let (city, country) = pick(&CITIES, index);
    let provider = pick(&PROVIDERS, world.made_up(1, index));
    let value = json!({
        "id": Collection::Nodes.first() + signed(index),
        "name": node_name(world, index),
        "isPaused": false,
        "status": status(true),
        "networkType": {"id": 0, "name": "Backbone"},
        "city": {"id": index % 8 + 1, "name": city},
        "country": {"id": index % 8 + 1, "name": country},
        "internetServiceProvider": {"id": world.made_up(1, index) % 5 + 1, "name": provider},
        "isIPv6": index.is_multiple_of(3),
        "capacity": 1_000,
        "instanceCount": 2,
        "activeInstanceCount": 2,
    });
    Object { division: None, value }
}

fn product(world: &World, id: i64, index: u64) -> Object {
    let of = world.division_of(index);
    let value = json!({
        "id": id,
        "divisionId": of,
        "name": format!("Product {}", index + 1),
        "status": status(true),
        "alertGroupId": 900 + id,
    });
    Object { division: Some(of), value }
}

fn folder(world: &World, id: i64, index: u64) -> Object {
    let product = index % u64::from(world.products);
    let of = world.division_of(product);
    let value = json!({
        "id": id,
        "parentId": null,
        "divisionId": of,
        "productId": Collection::Products.first() + signed(product),
        "name": format!("Folder {}", index + 1),
    });
    Object { division: Some(of), value }
}

fn label(world: &World, id: i64, index: u64) -> Object {
    let of = world.division_of(index);
    let value = json!({
        "id": id,
        "name": format!("label-{}", index + 1),
        "divisionId": of,
        "color": "#2f6fde",
        "labelValues": [{"id": id * 10, "name": "yes"}, {"id": id * 10 + 1, "name": "no"}],
    });
    Object { division: Some(of), value }
}

fn contact(world: &World, id: i64, index: u64) -> Object {
    let of = world.division_of(index);
    let first = pick(&PEOPLE, index);
    let value = json!({
        "id": id,
        "firstName": first,
        "lastName": format!("Example{}", index + 1),
        "email": format!("{}{}@example.com", first.to_lowercase(), index + 1),
        "status": status(true),
        "division": {"id": of, "name": division_name(world, of)},
    });
    Object { division: Some(of), value }
}

fn status(is_active: bool) -> Value {
    if is_active { json!({"id": 0, "name": "Active"}) } else { json!({"id": 1, "name": "Inactive"}) }
}
