/** Every cause has its fake peer, and the doctor names it: the confusion matrix over all causes and five seeds is diagonal. */
import assert from "node:assert/strict";
import process from "node:process";
import { test } from "node:test";
import { PATIENTS, Ward } from "../kit/doctor_patients.ts";
import { CAUSES, type Verdict, VERDICTS } from "../../survey/doctor/verdict.ts";

const SEEDS = [1, 2, 3, 4, 5];
/** Rows: causes. What was said, by seed. */
const matrix = new Map<string, Verdict[]>();

for (const patient of PATIENTS) {
  test(`doctor: ${patient.cause} is ${patient.verdict}`, async () => {
    const said: Verdict[] = [];
    matrix.set(patient.cause, said);
    for (const seed of SEEDS) {
      const ward = new Ward(seed);
      const host = await patient.admit(ward);
      const { diagnosis, evidence } = await ward.examine(host ?? undefined);
      said.push(diagnosis.verdict);
      const seen = () =>
        `seed ${seed}: ${JSON.stringify(diagnosis, null, 1)}\n${
          evidence.probes.map(({ question: q, visit }) =>
            `${q.network.name} ${q.identity} ${q.cert} ${q.versions} ${q.depth}: ${visit.state} ${visit.failure?.code} ${visit.remoteText}`
          ).join("\n")
        }`;
      assert.equal(diagnosis.verdict, patient.verdict, seen());
      for (const cause of patient.couldAlsoBe ?? []) assert.ok(diagnosis.couldAlsoBe.includes(cause), seen());
      assert.ok(diagnosis.next.length > 10 && /[.]$/.test(diagnosis.next), seen());
      const healthy = VERDICTS[patient.verdict] === "healthy";
      assert.equal(diagnosis.findings.every((finding) => finding.ok !== false), healthy, seen());
      const target = Object.entries(ward.dialedMs).filter(([at]) => at.startsWith("10.0.0.7:")).flatMap(([, ms]) => ms);
      assert.ok(target.length <= 11, `${target.length} connections`);
      for (let i = 1; i < target.length; i++) assert.ok(target[i] - target[i - 1] >= 500, "connections are spaced");
    }
  });
}

test("doctor: the confusion matrix is diagonal, and no row is missing", () => {
  const rows = PATIENTS.map(({ cause, verdict }) => {
    const said = matrix.get(cause) ?? [];
    return {
      cause,
      verdict,
      right: said.filter((word) => word === verdict).length,
      said: [...new Set(said)].join(" "),
    };
  });
  const wide = Math.max(...rows.map((row) => row.cause.length));
  if (process.env.SIM_FIGURES) {
    console.log(rows.map((row) => `${row.cause.padEnd(wide)}  ${row.right}/${SEEDS.length}  ${row.said}`).join("\n"));
  }
  assert.ok(rows.length >= 20);
  assert.deepEqual(rows.filter((row) => row.right !== SEEDS.length || row.said !== row.verdict), []);
  // Two causes of one verdict: each names the other as possible, or they are one cause seen twice.
  const shared = Map.groupBy(PATIENTS, ({ verdict }) => verdict);
  for (const [verdict, patients] of shared) {
    const causes = patients.map((patient) => patient.couldAlsoBe?.length ?? 0);
    const alike = ["banned_identity", "version_window", "clock_skew_ours", "clock_skew_theirs", "protocol_fault"];
    if (patients.length > 1 && !alike.includes(verdict)) assert.ok(causes.every((count) => count > 0), verdict);
  }
  // "interrupted" is what the user did, not what the node has.
  const covered = new Set(PATIENTS.map(({ verdict }) => verdict));
  assert.deepEqual(Object.keys(VERDICTS).filter((verdict) => !covered.has(verdict as Verdict)), ["interrupted"]);
  assert.ok(Object.values(CAUSES).every((text) => text.length > 0));
});
