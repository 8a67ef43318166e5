/** The engine as a library: the README's example runs as printed, and the public names are there. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import * as library from "../mod.ts";
import { fakeNode, HONEST } from "./kit/fake_node.ts";
import { ROOT } from "./kit/tool.ts";

test("README: the library example runs as printed, against a node", async () => {
  const example = /```ts\n([\s\S]*?)```/.exec(readFileSync(join(ROOT, "README.md"), "utf8"))![1];
  await using node = await fakeNode(HONEST, { passphrase: "Test SDF Network ; September 2015" });
  const source = example.replace('{ host: "127.0.0.1", port: 11625 }', `{ host: "127.0.0.1", port: ${node.port} }`);
  assert.notEqual(source, example, "the example dials the usual port, which the test replaces by a free one");
  // Inside the repository, so that the package's own name is found.
  const folder = join(ROOT, "out", `example-${process.pid}`);
  mkdirSync(folder, { recursive: true });
  try {
    writeFileSync(join(folder, "example.ts"), source);
    const runtime = "Bun" in globalThis ? ["run"] : ["run", "-A", "--no-check"];
    const child = await run(process.execPath, [...runtime, join(folder, "example.ts")]);
    assert.match(child, new RegExp(`^reachable ${node.local.nodeIdText} \\[`), child);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

/** Runs a program without blocking this process, which answers it. */
async function run(command: string, args: string[]): Promise<string> {
  const child = spawn(command, args, { cwd: ROOT, env: { ...process.env, NO_COLOR: "1", FORCE_COLOR: undefined } });
  let output = "";
  child.stdout.on("data", (text) => (output += text));
  child.stderr.on("data", (text) => (output += text));
  const timer = setTimeout(() => child.kill("SIGKILL"), 30_000);
  await new Promise((resolve) => child.on("close", resolve));
  clearTimeout(timer);
  return output;
}

test("mod.ts exports what the documents name", () => {
  for (
    const name of [
      "Peer",
      "LocalNode",
      "TcpTransport",
      "MemoryNetwork",
      "VirtualClock",
      "visit",
      "crawl",
      "Twin",
      "OverlayError",
    ]
  ) {
    assert.ok(name in library, name);
  }
  assert.equal(library.resolveNetwork("testnet").passphrase, "Test SDF Network ; September 2015");
});
