import { b } from './esbuild_b'; enum X { A, B }
interface T { x: number }
export const f = async (t?: T) => { console.log(b(t?.x ?? X.B)); };
f();
