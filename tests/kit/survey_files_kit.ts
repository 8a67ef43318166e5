/** Survey documents to test files with: the recorded ones, and arbitrary ones. */
import { readFileSync } from "node:fs";

/** Text of a recorded file below tests/fixtures. */
export function fixtureText(path: string): string {
  return readFileSync(new URL(`../fixtures/${path}`, import.meta.url), "utf8");
}
