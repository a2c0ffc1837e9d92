// Reads JSON with its numbers as they are written: a double holds 53 bits, a context may hold more. A number becomes
// {number: "…"}; all else is as JSON.parse has it, but that objects are Maps, in which no key is special.
export class Exact {
  constructor(text) { this.number = text; }
}

const number = /-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const string = /"(?:[^"\\]|\\.)*"/y;
const space = /[ \t\r\n]*/y;
const words = { true: true, false: false, null: null };
const deepest = 500;

export function parseExact(text) {
  let at = 0;
  const match = (pattern) => {
    pattern.lastIndex = at;
    const found = pattern.exec(text);
    if (!found) return null;
    at = pattern.lastIndex;
    return found[0];
  };
  const fail = () => { throw new SyntaxError(`no JSON at character ${at + 1}`); };
  const list = (close, item) => {
    at += 1;
    match(space);
    if (text[at] === close) { at += 1; return; }
    for (;;) {
      item();
      match(space);
      if (text[at] === ",") { at += 1; match(space); continue; }
      if (text[at] !== close) fail();
      at += 1;
      return;
    }
  };
  const value = (depth) => {
    if (depth > deepest) fail();
    match(space);
    const first = text[at];
    if (first === "{") {
      const object = new Map();
      list("}", () => {
        const key = match(string) ?? fail();
        match(space);
        if (text[at] !== ":") fail();
        at += 1;
        object.set(JSON.parse(key), value(depth + 1));
      });
      return object;
    }
    if (first === "[") {
      const array = [];
      list("]", () => array.push(value(depth + 1)));
      return array;
    }
    if (first === '"') return JSON.parse(match(string) ?? fail());
    for (const [word, meaning] of Object.entries(words))
      if (text.startsWith(word, at)) { at += word.length; return meaning; }
    const digits = match(number);
    return digits === null ? fail() : new Exact(digits);
  };
  const result = value(0);
  match(space);
  if (at !== text.length) fail();
  return result;
}

export const isObject = (value) => value instanceof Map;

export function writeExact(value, indent = "") {
  if (value instanceof Exact) return value.number;
  const inner = `${indent}  `;
  if (Array.isArray(value))
    return value.length ? `[\n${value.map((item) => inner + writeExact(item, inner)).join(",\n")}\n${indent}]` : "[]";
  if (isObject(value))
    return value.size ? `{\n${[...value].map(([key, item]) => `${inner}${JSON.stringify(key)}: ${writeExact(item, inner)}`).join(",\n")}\n${indent}}` : "{}";
  return JSON.stringify(value);
}

// RFC 7396, as the server merges what a task hands over.
export function mergePatch(target, patch) {
  if (!isObject(patch)) return patch;
  const merged = new Map(isObject(target) ? target : []);
  for (const [key, value] of patch) {
    if (value === null) merged.delete(key);
    else merged.set(key, mergePatch(merged.get(key), value));
  }
  return merged;
}
