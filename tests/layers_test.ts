/** The layering of docs/architecture.md: every import goes to its own folder or down. Also: every exported symbol says what it is. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..");

/** Rank of each folder; equal ranks do not see each other. */
const RANKS: Record<string, number> = {
  "overlay/base": 0,
  "overlay/metrics": 1,
  "overlay/wire": 1,
  "overlay/crypto": 2,
  "overlay/auth": 3,
  "overlay/transport": 3,
  "overlay/connection": 4,
  "overlay/peer": 5,
  "overlay/flood": 6,
  "overlay/db": 6,
  "overlay/survey": 7,
  "overlay/manager": 8,
  "overlay": 9,
  "survey": 10,
  "cli": 11,
};

function sources(folder: string): string[] {
  const found: string[] = [];
  for (const entry of readdirSync(join(ROOT, folder), { withFileTypes: true })) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) found.push(...sources(path));
    else if (entry.name.endsWith(".ts")) found.push(path);
  }
  return found;
}

const FILES = ["overlay", "survey", "cli"].flatMap(sources);
const PRODUCT = FILES.filter((file) => !/_test(_\w+)?\.ts$/.test(file));

function roomOf(file: string): string {
  const [top, second, third] = file.split("/");
  return top === "overlay" && third !== undefined ? `overlay/${second}` : top;
}

test("layers: no import points up, and equal layers do not see each other", () => {
  const wrong: string[] = [];
  for (const file of PRODUCT) {
    const text = readFileSync(join(ROOT, file), "utf8");
    for (const [, target] of text.matchAll(/(?:from|import\()\s*"(\.[^"]+)"/g)) {
      const to = relative(ROOT, resolve(ROOT, dirname(file), target));
      const here = roomOf(file), there = roomOf(to);
      if (here !== there && !(RANKS[there] < RANKS[here])) wrong.push(`${file} imports ${to}`);
    }
  }
  assert.deepEqual(wrong, []);
});

test("doors: sockets, SQLite, the wall clock, randomness and the process are reached through their one file", () => {
  const doors: [pattern: RegExp, allowed: RegExp, what: string][] = [
    [/from "node:(net|dns)"/, /^overlay\/transport\/tcp\.ts$/, "sockets"],
    [/from "node:https?"/, /^(cli\/http_door|survey\/core_http\/http_get)\.ts$/, "HTTP"],
    [/(bun|node):sqlite/, /^overlay\/db\/database\.ts$/, "SQLite"],
    [/Date\.now\(\)|performance\.now\(\)|setTimeout\(|setInterval\(/, /^overlay\/base\/clock\.ts$/, "time"],
    [/Math\.random\(|randomBytes|randomFillSync/, /^overlay\/base\/random\.ts$/, "randomness"],
    [/process\.(exit|on|stdout|stderr|stdin)\b/, /^cli\/(main|app|io)\.ts$/, "the process"],
    [/\bDeno\./, /^$/, "Deno's own API"],
  ];
  const wrong: string[] = [];
  for (const file of PRODUCT) {
    const text = readFileSync(join(ROOT, file), "utf8").replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, "");
    for (const [pattern, allowed, what] of doors) {
      if (pattern.test(text) && !allowed.test(file)) wrong.push(`${file} reaches ${what}`);
    }
  }
  assert.deepEqual(wrong, []);
});

test("docs: every exported symbol of the engine and of survey has a docstring", () => {
  const bare: string[] = [];
  for (const file of PRODUCT) {
    const lines = readFileSync(join(ROOT, file), "utf8").split("\n");
    lines.forEach((line, i) => {
      const match = /^export (?:abstract )?(?:async )?(?:function|class|interface|const|type|enum) (\w+)/.exec(line);
      if (match === null) return;
      let above = i - 1;
      while (above >= 0 && /^\/\/ deno-lint-ignore/.test(lines[above])) above--;
      // A codec right below its interface shares the interface's docstring, as does a type named like the constant above it.
      const shared = /^}$|^export const \w+.*;$|^} as const;$/.test(lines[above] ?? "");
      if (!/\*\/\s*$/.test(lines[above] ?? "") && !shared) bare.push(`${file}:${i + 1} ${match[1]}`);
    });
  }
  assert.deepEqual(bare, []);
});
