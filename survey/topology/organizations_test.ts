import assert from "node:assert/strict";
import { test } from "node:test";
import { isFailure } from "../../overlay/base/errors.ts";
import { nodeIdOf } from "../../tests/kit/survey_documents.ts";
import { organizationsOfAttributes, parseOrganizations } from "./organizations.ts";
import { emptyDocument } from "./types.ts";

const a = nodeIdOf(1), b = nodeIdOf(2);

test("parseOrganizations reads objects, lists, CSV with and without titles, and a stellar-core configuration", async () => {
  const expected = [[a, "One, Ltd"], [b, 'Two "B"']];
  for (
    const text of [
      JSON.stringify({ [a]: "One, Ltd", [b]: 'Two "B"' }),
      JSON.stringify([{ nodeId: a, organization: "One, Ltd" }, { publicKey: b, homeDomain: 'Two "B"' }]),
      `${a},"One, Ltd"\n${b},"Two ""B"""\n`,
      `# who runs what\norganisation;x,note,Node ID\n`.replace(";x", "") + `"One, Ltd",,${a}\r\n"Two ""B""",?,${b}\r\n`,
    ]
  ) assert.deepEqual([...(await parseOrganizations(text, "f")).of], expected, text);

  const config = `NETWORK_PASSPHRASE="x"\n[[HOME_DOMAINS]]\nHOME_DOMAIN="one.example"\nQUALITY="HIGH"\n` +
    `[[VALIDATORS]]\nNAME="one-a"\nPUBLIC_KEY="${a}"\nHOME_DOMAIN="one.example"\n`;
  for (const text of [config, config.slice(config.indexOf("[[VALIDATORS]]"))]) {
    const { of, names, source } = await parseOrganizations(text, "core.cfg");
    assert.deepEqual([[...of], [...names], source], [[[a, "one.example"]], [[a, "one-a"]], "configuration"]);
  }
});

test("parseOrganizations says what is wrong where", async () => {
  for (
    const [text, reason] of [
      ["{}", /no node/],
      ["", /no node/],
      ["{", /not JSON/],
      [`{"${a}": 5}`, /must be a name/],
      [`[{"nodeId": "${a}"}]`, /entry 1/],
      [`${a},One\n,Two`, /line 2/],
      ["x,y\n", /line 1.*columns/],
      [`${a},One\n${a},Two`, /belongs to 'One'/],
      [`NETWORK_PASSPHRASE="x"\n`, /VALIDATORS/],
    ] as const
  ) {
    await assert.rejects(() => parseOrganizations(text, "f"), (error: Error) => {
      assert.ok(isFailure("config_invalid")(error), text);
      assert.match(error.message, reason);
      return true;
    });
  }
});

test("organizationsOfAttributes takes home domain, else organisation id", () => {
  const document = emptyDocument();
  document.attributes.set(a, { radar_homeDomain: "one.example", radar_organizationId: "x1", radar_name: "One A" });
  document.attributes.set(b, { radar_organizationId: "x2", radar_homeDomain: "" });
  const { of, names, source } = organizationsOfAttributes(document);
  assert.deepEqual([[...of], [...names], source], [[[a, "one.example"], [b, "x2"]], [[a, "One A"]], "attributes"]);
  assert.equal(organizationsOfAttributes(emptyDocument()).source, "none");
});
