// Installs the pinned dependencies when they are missing or not those of package-lock.json. Needs Node and npm, nothing else.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, lstatSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The repository. */
export const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const STAMP = join(ROOT, "node_modules", ".stellar-overlay-setup");

/** Path of a program that came with the dependencies. */
export function bin(name) {
  return join(ROOT, "node_modules", ".bin", process.platform === "win32" ? `${name}.cmd` : name);
}

function run(command, args) {
  const result = spawnSync(command, args, { cwd: ROOT, stdio: ["ignore", 2, 2], shell: process.platform === "win32" });
  return result.status === 0;
}

function works(name) {
  return spawnSync(bin(name), ["--version"], { cwd: ROOT, stdio: "ignore", shell: process.platform === "win32" })
    .status === 0;
}

/** Makes node_modules complete; exits with a message when that is not possible. */
export function setup() {
  const wanted = createHash("sha256").update(readFileSync(join(ROOT, "package-lock.json"))).digest("hex");
  const have = existsSync(STAMP) ? readFileSync(STAMP, "utf8") : "";
  const isComplete = have === wanted && existsSync(bin("bun")) && existsSync(bin("deno"));
  // npm ci empties the folder first: through a link, that of others who share it.
  if (lstatSync(join(ROOT, "node_modules"), { throwIfNoEntry: false })?.isSymbolicLink()) {
    if (!isComplete) console.error("node_modules is a link, and not of this package-lock.json: left as it is");
    return;
  }
  if (!isComplete) {
    console.error("installing the pinned dependencies (npm ci) ...");
    if (!run("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"])) {
      console.error("error: npm ci failed\n  hint: check the network and that npm reaches its registry");
      process.exit(1);
    }
  }
  // npm may be told not to run install scripts; both runtimes can finish their installation on their own.
  if (!works("bun")) run(process.execPath, [join(ROOT, "node_modules", "bun", "install.js")]);
  for (const name of ["bun", "deno"]) {
    if (works(name)) continue;
    console.error(
      `error: ${name} does not run on this machine\n  hint: node_modules/${name} tells which platforms it has`,
    );
    process.exit(1);
  }
  writeFileSync(STAMP, wanted);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) setup();
