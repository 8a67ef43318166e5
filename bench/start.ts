/** Start of the compiled tool (`--version`) beside an empty compiled program, both built here with the same options. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { beside } from "./children.ts";
import { type Measured, type Options, Rows } from "./report.ts";

/** As tests/tasks/build.ts has it. */
const BUILD = [
  "build",
  "--compile",
  "--minify",
  "--bytecode",
  "--splitting",
  "--format=esm",
  "--external",
  "react-devtools-core",
];
const PROGRAMS = ["empty", "ours"] as const;

/** Builds both, then starts them in turn. Needs Bun, which compiles. */
export function startUp(options: Options): Promise<Measured> {
  const folder = mkdtempSync(join(tmpdir(), "bench-"));
  try {
    const bun = "Bun" in globalThis ? process.execPath : "bun";
    const source = join(folder, "empty.ts");
    writeFileSync(source, 'console.log("empty 0.0.0");\n');
    const rows = new Rows(PROGRAMS);
    for (const name of PROGRAMS) {
      const file = name === "empty" ? source : beside("../cli/main.ts");
      // Split: what `await import` names becomes a file of its own inside the binary and is not read for --version.
      const built = spawnSync(bun, [...BUILD, file, "--outfile", join(folder, name)], { encoding: "utf8" });
      if (built.status !== 0) throw new Error(`${name} does not compile: ${built.stderr}`);
    }
    for (let round = -2; round < (options.quick ? 11 : 41); round++) {
      for (const name of PROGRAMS) {
        const startedMs = performance.now();
        const ended = spawnSync(join(folder, name), ["--version"]);
        const ms = performance.now() - startedMs;
        if (ended.status !== 0) throw new Error(`${name} ends with ${ended.status}`);
        if (round >= 0) rows.add(name, { "wall ms": ms, "size MB": statSync(join(folder, name)).size / 1e6 });
      }
    }
    return Promise.resolve({
      name: "start",
      title: "start of the compiled tool (--version) and of an empty compiled program",
      rows: rows.result(),
      aims: [rows.aim("ours", "wall ms", "empty", 2, "start over empty program")],
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
