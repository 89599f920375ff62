package op

import "math"

// mersenne is MT19937 with the derivations of numpy's RandomState, which ONNX's
// reference implementation and its test data draw from: so that a seed in a file
// gives here what it gives there. Training does not use it (see dropoutOps).
type mersenne struct {
	state [624]uint32
	next  int

	spare    float64 // the second of a pair of normal numbers
	hasSpare bool
}

func newMersenne(seed uint32) *mersenne {
	m := &mersenne{next: len(mersenne{}.state)}
	m.state[0] = seed
	for i := 1; i < len(m.state); i++ {
		last := m.state[i-1]
		m.state[i] = 1812433253*(last^last>>30) + uint32(i)
	}
	return m
}

func (m *mersenne) refill() {
	n := len(m.state)
	for i := range m.state {
		y := m.state[i]&(1<<31) | m.state[(i+1)%n]&(1<<31-1)
		m.state[i] = m.state[(i+397)%n] ^ y>>1
		if y&1 != 0 {
			m.state[i] ^= 0x9908b0df
		}
	}
	m.next = 0
}

func (m *mersenne) word() uint32 {
	if m.next == len(m.state) {
		m.refill()
	}
	y := m.state[m.next]
	m.next++
	y ^= y >> 11
	y ^= y << 7 & 0x9d2c5680
	y ^= y << 15 & 0xefc60000
	return y ^ y>>18
}

// uniform is a number in [0,1) with 53 random bits.
func (m *mersenne) uniform() float64 {
	a, b := m.word()>>5, m.word()>>6
	return (float64(a)*(1<<26) + float64(b)) / (1 << 53)
}

// normal has mean 0 and variance 1, by Marsaglia's polar method.
func (m *mersenne) normal() float64 {
	if m.hasSpare {
		m.hasSpare = false
		return m.spare
	}
	for {
		a, b := 2*m.uniform()-1, 2*m.uniform()-1
		r := a*a + b*b
		if r >= 1 || r == 0 {
			continue
		}
		f := math.Sqrt(-2 * math.Log(r) / r)
		m.spare, m.hasSpare = f*a, true
		return f * b
	}
}
