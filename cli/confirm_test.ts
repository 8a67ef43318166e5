import assert from "node:assert/strict";
import { test } from "node:test";
import { confirm } from "./confirm.ts";
import type { CliContext } from "./context.ts";

function asked(
  answer: Promise<string | undefined>,
): { ctx: CliContext; interruption: AbortController; err: () => string } {
  const interruption = new AbortController();
  let err = "";
  const io = { prompt: () => answer, err: (text: string) => void (err += text) };
  return { ctx: { io, signal: interruption.signal } as unknown as CliContext, interruption, err: () => err };
}

test("confirm takes y and yes for a yes, and everything else for a no", async () => {
  for (const answer of ["y", "Y", " yes "]) {
    assert.equal(await confirm("Sure?", asked(Promise.resolve(answer)).ctx), true);
  }
  for (const answer of ["", "n", "yep", "no y"]) {
    const { ctx, err } = asked(Promise.resolve(answer));
    assert.deepEqual([await confirm("Sure?", ctx), err()], [false, "nothing is changed\n"]);
  }
});

test("confirm: Ctrl-C while it waits, or the end of the input, is a no", async () => {
  assert.equal(await confirm("Sure?", asked(Promise.resolve(undefined)).ctx), false);
  const { ctx, interruption } = asked(Promise.resolve("y"));
  interruption.abort();
  assert.equal(await confirm("Sure?", ctx), false);
});
