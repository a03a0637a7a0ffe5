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

// Words of the contracts: what stands between backticks is code.
function words(text) {
  const parts = (text ?? "").split("`");
  return parts.length % 2 ? parts.map((part, index) => (index % 2 ? code(part) : part)) : [text];
}

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

function row(name, needed, schema, text) {
  return node("tr", {}, node("td", {}, code(name, needed ? "needed" : "")), node("td", {}, code(kind(schema))), node("td", {}, ...words(text)));
}

// A value that a schema takes: of a message what it needs, or its first field.
function sample(schema) {
  if (schema.$ref) return sample(resolved(schema));
  if (schema.anyOf) return sample(schema.anyOf.at(-1));
  if ("const" in schema) return schema.const;
  if (schema.enum) return schema.enum.find((value) => value !== "") ?? "";
  if (schema.type === "array") return [sample(schema.items)];
  if (schema.type === "object") {
    const names = schema.required ?? Object.keys(schema.properties ?? {}).slice(0, 1);
    return Object.fromEntries(names.map((name) => [name, sample(schema.properties[name])]));
  }
  if (schema.type === "boolean") return true;
  if (schema.type === "string") return "...";
  return Math.max(schema.minimum ?? 1, 1);
}

const inShell = (text) => `'${text.replaceAll("'", "'\\''")}'`;

// The call as a command. What varies in it are variables of the shell.
function curl(path, verb, operation) {
  const parts = ["curl"];
  if (verb !== "get") parts.push("-X", verb.toUpperCase());
  if (operation.security) parts.push("-H", '"authorization: Bearer $TOKEN"');
  const [type, content] = Object.entries(operation.requestBody?.content ?? {})[0] ?? [];
  if (type === "application/json") {
    parts.push("-H", inShell(`content-type: ${type}`), "-d", inShell(JSON.stringify(sample(content.schema))));
  } else if (type) {
    parts.push("-H", inShell(`content-type: ${type}`), "--data-binary", "@walk.mp4");
  }
  const answer = Object.entries(operation.responses).find(([status]) => status < 300)?.[1].content ?? {};
  if ("text/event-stream" in answer) parts.push("-N");
  if ("application/octet-stream" in answer) parts.push("-o", "file");
  const query = (operation.parameters ?? []).filter((one) => one.in === "query" && one.required).map((one) => `${one.name}=$${one.name.toUpperCase()}`);
  const address = location.origin + path.replaceAll(/{(\w+)}/g, (_, name) => `$${name.toUpperCase()}`);
  parts.push(`"${address}${query.length ? `?${query.join("&")}` : ""}"`);
  return parts.join(" ");
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
    node("p", {}, ...words(operation.description)),
    node("pre", {}, code(curl(path, verb, operation))),
    operation.parameters
      ? node("section", {}, node("h3", {}, "Parameters"),
        node("table", {}, ...operation.parameters.map((one) => row(`${one.name} (${one.in})`, one.required, one.schema, one.description))))
      : null,
    body("Request", operation.requestBody?.content),
    body("Answer", good?.content),
    node("details", {}, node("summary", {}, "Statuses"),
      node("table", {}, ...answers.map(([status, answer]) => node("tr", {}, node("td", {}, code(status)), node("td", {}, ...words(resolved(answer).description)))))));
}

async function show() {
  const about = document.getElementById("about");
  try {
    api = await (await fetch("/openapi.json")).json();
  } catch (failure) {
    about.textContent = `/openapi.json cannot be read: ${failure.message}`;
    return;
  }
  about.replaceChildren(...words(api.info.description));
  const subjects = new Map(api.tags.map((tag) => [tag.name, { tag, list: node("ul", {}), methods: [] }]));
  for (const [path, verbs] of Object.entries(api.paths)) {
    for (const [verb, operation] of Object.entries(verbs)) {
      const { list, methods } = subjects.get(operation.tags[0]);
      list.append(node("li", {}, node("a", { href: `#${operation.operationId}` }, code(verb.toUpperCase(), "verb"), code(path))));
      methods.push(method(path, verb, operation));
    }
  }
  for (const { tag, list, methods } of subjects.values()) {
    document.getElementById("contents").append(node("h2", {}, node("a", { href: `#${tag.name}` }, tag.name)), list);
    document.getElementById("methods").append(
      node("section", { id: tag.name }, node("h1", {}, tag.name), node("p", {}, ...words(tag.description)), ...methods));
  }
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

show();
