import { test } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { type LimitedMessage, MAX_REQUESTS_PER_LEDGER, SurveyMessageLimiter } from "./message_limiter.ts";

/** The set-up of upstream's test: window 0, limit 2, our ledger is 2; a surveyor asked one node. */
const LEDGER = 2;
const good = () => true;
const bad = () => false;
const of = (surveyor: string, surveyed: string, ledgerNum = LEDGER): LimitedMessage => ({
  ledgerNum,
  surveyor,
  surveyed,
});

function limiter(window = 0, limit = 2, ledger: { now: number | undefined } = { now: LEDGER }) {
  return new SurveyMessageLimiter({ ledger: () => ledger.now, self: "self", window, limit });
}

function asked(): SurveyMessageLimiter {
  const limits = limiter();
  assert.equal(limits.addRequest(of("surveyor", "0"), good), undefined);
  return limits;
}

const LIMITER = "messagelimiter";

test(`scenario: ${LIMITER}: a repeated request is refused`, () => {
  assert.equal(asked().addRequest(of("surveyor", "0"), good), "limited");
});

test(`scenario: ${LIMITER}: survey request limits are enforced`, () => {
  const limits = asked();
  assert.equal(limits.addRequest(of("surveyor", "1"), good), undefined);
  assert.equal(limits.addRequest(of("surveyor", "2"), good), "limited");
  assert.equal(limits.requests(LEDGER, "surveyor"), 2);
});

test(`scenario: ${LIMITER}: allow self to start survey when at capacity`, () => {
  const limits = asked();
  assert.equal(limits.addRequest(of("second", "0"), good), undefined);
  assert.equal(limits.addRequest(of("third", "0"), good), "limited");
  for (const surveyed of ["0", "1", "2", "3", "4"]) {
    assert.equal(limits.addRequest(of("self", surveyed), good), undefined, surveyed);
  }
  assert.equal(limits.addRequest(of("self", "0"), good), "limited", "a repeated one is refused to us too");
});

test(`scenario: ${LIMITER}: receive corresponding response`, () => {
  const limits = asked();
  assert.equal(limits.recordResponse(of("surveyor", "0"), bad), "validation");
  assert.equal(limits.recordResponse(of("surveyor", "0"), good), undefined, "a failed validation leaves no trace");
  assert.equal(limits.recordResponse(of("surveyor", "0"), good), "answered_before");
});

test(`scenario: ${LIMITER}: corresponding response ledgernum too high`, () => {
  // A window of 0 still allows one ledger ahead.
  assert.equal(asked().recordResponse(of("surveyor", "0", LEDGER + 2), good), "ledger");
  assert.equal(asked().recordResponse(of("surveyor", "0", LEDGER + 1), good), "unknown_request");
});

test(`scenario: ${LIMITER}: corresponding response ledgernum too low`, () => {
  assert.equal(asked().recordResponse(of("surveyor", "0", LEDGER - 1), good), "ledger");
});

test(`scenario: ${LIMITER}: surveyor receives response`, () => {
  const limits = limiter();
  assert.equal(limits.addRequest(of("self", "0"), good), undefined);
  assert.equal(limits.recordResponse(of("self", "0"), good), undefined);
  assert.equal(limits.recordResponse(of("self", "0"), good), "answered_before");
});

test(`scenario: ${LIMITER}: receive unknown response`, () => {
  const limits = asked();
  assert.equal(limits.recordResponse(of("surveyor", "1"), good), "unknown_request");
  assert.equal(limits.recordResponse(of("stranger", "0"), good), "unknown_request");
});

test(`scenario: ${LIMITER}: request ledgernum too high`, () => {
  assert.equal(asked().addRequest(of("surveyor", "1", LEDGER + 2), good), "ledger");
  assert.equal(asked().addRequest(of("surveyor", "1", LEDGER + 1), good), undefined);
});

test(`scenario: ${LIMITER}: request ledgernum too low`, () => {
  assert.equal(asked().addRequest(of("surveyor", "1", LEDGER - 1), good), "ledger");
});

test(`scenario: ${LIMITER}: hit request limit, clear old ledgers, and send new request`, () => {
  const ledger: { now: number | undefined } = { now: LEDGER };
  const limits = limiter(0, 2, ledger);
  for (const surveyed of ["0", "1"]) assert.equal(limits.addRequest(of("surveyor", surveyed), good), undefined);
  assert.equal(limits.addRequest(of("surveyor", "2"), good), "limited");
  ledger.now = LEDGER + 1;
  limits.clearOldLedgers(LEDGER + 1);
  assert.equal(limits.ledgers, 0);
  assert.equal(limits.addRequest(of("surveyor", "2", LEDGER + 1), good), undefined);
});

test("SurveyMessageLimiter leaves no trace of a request whose validation fails", () => {
  const limits = limiter();
  assert.equal(limits.addRequest(of("surveyor", "0"), bad), "validation");
  assert.equal(limits.ledgers, 0);
  assert.equal(limits.recordResponse(of("surveyor", "0"), good), "unknown_request");
});

test("SurveyMessageLimiter takes ledger numbers from 6 behind to 6 ahead, with sums that wrap as upstream's", () => {
  const ledger: { now: number | undefined } = { now: 1000 };
  const limits = new SurveyMessageLimiter({ ledger: () => ledger.now, self: "self" });
  const ok = (n: number) => limits.ledgerOk(n);
  assert.deepEqual([993, 994, 1000, 1006, 1007].map(ok), [false, true, true, true, false]);
  const high = 2 ** 32 - 1;
  // Near 0 the sum of a number close to 2^32 wraps, and it is far too high; near 2^32 what is ahead wraps to almost nothing.
  ledger.now = 3;
  assert.deepEqual([high, high - 3, 0, 9, 10].map(ok), [false, false, true, true, false]);
  ledger.now = high;
  assert.deepEqual([high, high - 6, 0, 5].map(ok), [false, false, false, false]);
  ledger.now = high - 6;
  assert.deepEqual([high, high - 12, high - 13].map(ok), [false, true, false]);
  ledger.now = undefined;
  assert.equal(ok(0), false);
});

test("SurveyMessageLimiter holds at most 100 requests of others per ledger, and agrees with upstream's rules restated", () => {
  const arb = fc.array(fc.tuple(fc.nat(14), fc.nat(14), fc.nat(2)), { maxLength: 400 });
  fc.assert(fc.property(arb, (requests) => {
    const limits = new SurveyMessageLimiter({ ledger: () => 1000, self: "0" });
    const taken: LimitedMessage[] = [];
    for (const [surveyor, surveyed, ahead] of requests) {
      const request = of(`${surveyor}`, `${surveyed}`, 1000 + ahead);
      const there = taken.filter((other) => other.ledgerNum === request.ledgerNum);
      const own = there.filter((other) => other.surveyor === request.surveyor);
      const isSelf = surveyor === 0;
      const surveyors = new Set(there.map((other) => other.surveyor)).size;
      const allowed = own.length === 0
        ? isSelf || surveyors < MAX_REQUESTS_PER_LEDGER
        : (isSelf || own.length < MAX_REQUESTS_PER_LEDGER) && !own.some((other) => other.surveyed === request.surveyed);
      assert.equal(limits.addRequest(request, good), allowed ? undefined : "limited");
      if (allowed) taken.push(request);
    }
  }));
});
