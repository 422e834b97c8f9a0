export { shapeCodecs, type Entry } from './messages.ts';
export { parseShape, ranked, shape_help, type Shape } from './shape.ts';
export { Shapes, type Joining } from './shapes.ts';
