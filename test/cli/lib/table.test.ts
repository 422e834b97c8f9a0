import test from 'ava';
import { formatTable, type Column } from '../../../src/cli/lib/table.ts';

type Row = { readonly id: string; readonly name: string; readonly cpu: number };
const columns: readonly Column<Row>[] = [
  { title: 'JOB', value: (row) => row.id },
  { title: 'NAME', value: (row) => row.name, flexible: true },
  { title: 'CPU', value: (row) => row.cpu.toFixed(1), align: 'right' },
];
const rows: readonly Row[] = [{ id: 'n1-1', name: 'gcc', cpu: 1 }, { id: 'n12-345', name: 'a-very-long-program-name', cpu: 12.34 }];

test('columns are as wide as their widest cell and right-aligned ones end together', (t) => {
  t.is(formatTable(columns, rows, undefined), [
    'JOB      NAME                       CPU', 'n1-1     gcc                        1.0', 'n12-345  a-very-long-program-name  12.3', '',
  ].join('\n'));
});

test('on a narrow terminal the flexible column is cut, never a line wrapped', (t) => {
  for (const width of [24, 30, 38]) {
    const lines = formatTable(columns, rows, width).trimEnd().split('\n');
    t.true(lines.every((line) => [...line].length <= width), `${width}`);
    t.regex(lines[2] ?? '', /^n12-345 {2}a-very.*… {2}12\.3$/);
  }
});

test('a table without rows is its head', (t) => {
  t.is(formatTable(columns, [], 80), 'JOB  NAME  CPU\n');
});

test('control characters of a name never reach the terminal', (t) => {
  const text = formatTable(columns, [{ id: 'n1-1', name: '\x1b]0;title\x07\nnext', cpu: 0 }], undefined);
  t.true(text.includes('\\x1b]0;title\\x07\\nnext'));
  t.is(text.split('\n').length, 3);
});
