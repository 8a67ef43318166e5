#!/usr/bin/env bun
/** The program: real streams, signals and exit status around cli/app.ts. The only file that touches `process` to end it. */
import process from "node:process";
import { VERSION } from "../overlay/base/version.ts";

const argv = process.argv.slice(2);
// Asked for most often by scripts, so it costs nothing but starting the runtime.
if (argv.length === 1 && (argv[0] === "--version" || argv[0] === "-V")) {
  // Not process.stdout: it loads the stream modules, which double the time.
  console.log(`stellar-overlay ${VERSION}`);
} else {
  const { main } = await import("./app.ts");
  await main(argv);
}
