import { ask } from '../lib/api.ts';
import { defineCommand, jsonOption, type Call, type OptionSpecs } from '../lib/command.ts';
import { UsageError } from '../lib/parse.ts';
import { formatTable, tableWidth } from '../lib/table.ts';

type Value = number | string | readonly string[];

const options = {
  unset: { kind: 'list', short: 'u', value: 'NAME', summary: 'the node has this attribute no more' },
  life: { kind: 'number', short: 'l', value: 'N', unit: 'seconds', summary: 'how long metrics are good for (default 60)', min: 1, max: 3600 },
  json: jsonOption,
} as const satisfies OptionSpecs;

/** `rack=7`, `gpu.kind=H100`, `libs={libmpi,libcuda}`; a number where it looks like one. */
function parse(word: string): readonly [name: string, value: Value] {
  const at = word.indexOf('=');
  if (at < 1) throw new UsageError(`'${word}' is not NAME=VALUE`);
  const [name, text] = [word.slice(0, at), word.slice(at + 1)];
  const set = /^\{(.*)\}$/s.exec(text);
  if (set !== null) return [name, set[1]!.split(',').map((each) => each.trim()).filter((each) => each !== '')];
  return [name, text.trim() !== '' && Number.isFinite(Number(text)) ? Number(text) : text];
}

export const describe = defineCommand({
  name: 'describe',
  summary: 'say what this node is, while it runs',
  description: [
    'Gives this node attributes that `xquery` and `xrun --where` know from then on: numbers, texts, or sets `{A,B}`. They stay over restarts, and go before those of /etc/xos/node.json. For root.',
    'metric.NAME=NUMBER is a metric: what a program of yours measures here and says again before N seconds are over. It is asked of the nodes as `load` is. Members of the VO may have four on a node.',
    'Without an argument: what was said so far.',
  ],
  options,
  arguments: [{ name: 'NAME=VALUE', summary: 'an attribute, or a metric', optional: true, repeated: true }],
  examples: [{ text: 'what stands where', line: "xnode describe rack=7 'sensors={humidity,door}'" }, { text: 'a metric, and jobs that go by it', line: "xnode describe metric.queue=12; xrun --where 'metric.queue < 20' ./worker" }],
  run: async (call) => {
    const said = call.args.map(parse);
    const metrics = said.filter(([name]) => name.startsWith('metric.')).map(([name, value]): [string, number] => {
      if (typeof value !== 'number') throw new UsageError(`metric '${name}' must be a number`);
      return [name.slice('metric.'.length), value];
    });
    const { unset, life, json } = call.options;
    const answer = await ask(call as unknown as Call, 'node-describe', {
      set: Object.fromEntries(said.filter(([name]) => !name.startsWith('metric.'))), unset, metrics: Object.fromEntries(metrics), ...(life === undefined ? {} : { life_s: life }),
    });
    if (json) return call.json(answer);
    const rows = Object.entries<Value>({ ...answer.attributes, ...answer.metrics });
    if (rows.length === 0) return call.note('nothing was said of this node beside its configuration');
    call.out.write(formatTable([{ title: 'NAME', value: ([name]) => name }, { title: 'VALUE', value: ([, value]) => (typeof value === 'object' ? `{${value.join(', ')}}` : String(value)), flexible: true }], rows, tableWidth(call.out)));
  },
});
