// The page at /docs: the interface of /openapi.json, for people. It needs no other host and runs no text as code.
"use strict";

let api;

function node(name, attributes, ...children) {
  const found = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) found.setAttribute(key, value);
  found.append(...children.filter((child) => child !== null));
  return found;
}

const code = (text, kind = "") => node("code", { class: kind }, text);

function resolved(schema) {
  return schema.$ref ? schema.$ref.slice(2).split("/").reduce((found, name) => found[name], api) : schema;
}

// What a value may be, in a few words.
function kind(schema) {
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf) return schema.anyOf.map(kind).join(" or ");
  if ("const" in schema) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.type === "array") return `list of ${kind(schema.items)}${limits(schema)}`;
  return [schema.type ?? "anything"].flat().join(" or ") + limits(schema);
}

function limits(schema) {
  const words = {
    minLength: "at least", maxLength: "at most", minItems: "at least", maxItems: "at most",
    minimum: "≥", maximum: "≤", exclusiveMinimum: ">", exclusiveMaximum: "<", pattern: "like",
  };
  const found = Object.entries(words).filter(([key]) => key in schema).map(([key, word]) => `${word} ${schema[key]}`);
  return found.length ? ` (${found.join(", ")})` : "";
}

function row(name, needed, schema, words) {
  return node("tr", {}, node("td", {}, code(name, needed ? "needed" : "")), node("td", {}, code(kind(schema))), node("td", {}, words ?? ""));
}

// A message's fields, and below them those of the messages in it.
function fields(schema, seen = []) {
  const found = resolved(schema);
  const item = found.type === "array" ? resolved(found.items) : found;
  if (!item.properties) return node("p", { class: "quiet" }, kind(schema));
  const entries = Object.entries(item.properties);
  const rows = entries.map(([name, field]) => row(name, item.required?.includes(name), field, field.description));
  const inner = entries.map(([, field]) => (field.type === "array" ? field.items : field)).filter((field) => field.$ref && !seen.includes(field.$ref));
  const unique = [...new Map(inner.map((field) => [field.$ref, field])).values()];
  return node("div", {},
    node("table", {}, ...rows),
    ...unique.map((field) => node("details", {}, node("summary", {}, code(kind(field))), fields(field, [...seen, field.$ref]))));
}

function body(title, content) {
  if (!content) return null;
  const [type, { schema }] = Object.entries(content)[0];
  const inside = schema ? fields(schema, [schema.$ref]) : node("p", { class: "quiet" }, "bytes");
  return node("section", {}, node("h3", {}, `${title} `, code(type, "quiet")), inside);
}

function method(path, verb, operation) {
  const answers = Object.entries(operation.responses);
  const good = answers.find(([status]) => status < 300)?.[1];
  return node("article", { id: operation.operationId },
    node("h2", {}, code(verb.toUpperCase(), "verb"), code(path)),
    node("p", {}, operation.description),
    operation.parameters
      ? node("section", {}, node("h3", {}, "Parameters"),
        node("table", {}, ...operation.parameters.map((one) => row(`${one.name} (${one.in})`, one.required, one.schema, one.description))))
      : null,
    body("Request", operation.requestBody?.content),
    body("Answer", good?.content),
    node("details", {}, node("summary", {}, "Statuses"),
      node("table", {}, ...answers.map(([status, answer]) => node("tr", {}, node("td", {}, code(status)), node("td", {}, resolved(answer).description))))));
}

async function show() {
  const about = document.getElementById("about");
  try {
    api = await (await fetch("/openapi.json")).json();
  } catch (failure) {
    about.textContent = `/openapi.json cannot be read: ${failure.message}`;
    return;
  }
  about.textContent = api.info.description;
  const list = node("ul", {});
  for (const [path, verbs] of Object.entries(api.paths)) {
    for (const [verb, operation] of Object.entries(verbs)) {
      list.append(node("li", {}, node("a", { href: `#${operation.operationId}` }, code(verb.toUpperCase(), "verb"), code(path))));
      document.getElementById("methods").append(method(path, verb, operation));
    }
  }
  document.getElementById("contents").append(list);
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

show();
