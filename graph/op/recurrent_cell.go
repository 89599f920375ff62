package op

// The cells: what one step makes of the gates. Names are those of ONNX.

// act applies an activation to a clipped sum.
func (r *recurrent[T]) act(f int, x T) T {
	return T(r.f[f](min(max(float64(x), -r.clip), r.clip)))
}

// stepRNN: h = f(x·W + h·R + b).
func (r *recurrent[T]) stepRNN(step int) {
	n := r.hidden
	r.fromStates(step)
	for b, t := range r.active {
		if t < 0 {
			continue
		}
		x, hr, h := r.gatesOf(b), r.hr[b*n:], r.h[b*n:][:n]
		for i := range h {
			h[i] = r.act(0, x[i]+hr[i]+r.bias[i])
		}
	}
}

// stepLSTM: gates i, o, f, c in this order; peepholes i, o, f.
func (r *recurrent[T]) stepLSTM(step int) {
	n := r.hidden
	r.fromStates(step)
	for b, t := range r.active {
		if t < 0 {
			continue
		}
		x, hr := r.gatesOf(b), r.hr[b*4*n:][:4*n]
		h, state := r.h[b*n:][:n], r.state[b*n:][:n]
		gate := func(g, i int) T { return x[g*n+i] + hr[g*n+i] + r.bias[g*n+i] }
		peep := func(g, i int) T {
			if r.peephole == nil {
				return 0
			}
			return r.peephole[g*n+i]
		}
		for i, was := range state {
			in := r.act(0, gate(0, i)+peep(0, i)*was)
			keep := 1 - in
			if !r.forget {
				keep = r.act(0, gate(2, i)+peep(2, i)*was)
			}
			now := keep*was + in*r.act(1, gate(3, i))
			out := r.act(0, gate(1, i)+peep(1, i)*now)
			state[i], h[i] = now, out*T(r.f[2](float64(now)))
		}
	}
}

// stepGRU: gates z, r, h in this order.
func (r *recurrent[T]) stepGRU(step int) {
	n := r.hidden
	if r.late {
		r.fromStates(step)
	} else {
		r.gated.run(r.h, r.weight[:2*n*n], r.hr, r.scratch)
		r.resetStates()
		r.proposed.run(r.reset, r.weight[2*n*n:], r.propose, r.scratch)
	}
	for b, t := range r.active {
		if t < 0 {
			continue
		}
		x, hr, h := r.gatesOf(b), r.hr[b*3*n:][:3*n], r.h[b*n:][:n]
		for i, was := range h {
			z := r.act(0, x[i]+hr[i]+r.bias[i])
			sum := x[2*n+i] + r.bias[2*n+i]
			if r.late {
				reset := r.act(0, x[n+i]+hr[n+i]+r.bias[n+i])
				sum += reset * (hr[2*n+i] + r.rbias[i])
			} else {
				sum += r.propose[b*n+i]
			}
			h[i] = (1-z)*r.act(1, sum) + z*was
		}
	}
}

// resetStates computes r·h of every sequence.
func (r *recurrent[T]) resetStates() {
	n := r.hidden
	for b, t := range r.active {
		if t < 0 {
			continue
		}
		x, hr := r.gatesOf(b), r.hr[b*3*n:][:3*n]
		for i, h := range r.h[b*n:][:n] {
			r.reset[b*n+i] = h * r.act(0, x[n+i]+hr[n+i]+r.bias[n+i])
		}
	}
}
