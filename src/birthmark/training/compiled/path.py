"""The path that trains in C: many steps of one replica in a row, on one core.

Its weights lie in that core's cache meanwhile. Nothing that a replica computes depends
on the others or on the number of cores, and so its bits do not either.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from ctypes import byref, c_double, c_int64, c_void_p
from pathlib import Path
from threading import Event

import numpy as np
import torch
from torch import Tensor

from birthmark.network import name_parameters
from birthmark.shapes import Dataset, Layer, Weights
from birthmark.spec import RunSpec
from birthmark.training.accumulators import Accumulators
from birthmark.training.compiled.library import load_library
from birthmark.training.compiled.program import (
    Course,
    Crew,
    Program,
    Stack,
    addresses,
    whole_numbers,
)
from birthmark.training.compiled.schedule import Task, share_out
from birthmark.training.compiled.tuning import Tuning, find_tuning
from birthmark.training.examples import Examples
from birthmark.training.sizes import PathBytes, StackSizes
from birthmark.training.step_ranges import StepRange

_LOSSES = {"cross_entropy": 0, "clipped_cross_entropy": 1}
_ACTIVATIONS = {"identity": 0, "relu": 1}
_MOST_STEPS = 256  # in one call: what runs in C does not hear Ctrl-C
# first layers: up to here they gain wherever it was tried; from there on never
_JOINED, _WIDEST_JOINED = 128, 256
_TRIED_ROWS, _TRIED_STEPS = 2, 2
_WAYS = ((8, True), (8, False), (0, False))  # panels, and cuts: see `Tuning`
_ALIGNMENT = 64  # bytes of a cache line


class CompiledPath:
    """Dense layers of relu units, softmax with cross-entropy, plain SGD, on the CPU.

    Weights are stored as [R, I, row] with rows of whole vectors, padded with zeros that
    stay zero; `parameters` are views of what counts.
    """

    name = "compiled"

    def __init__(
        self,
        spec: RunSpec,
        weights: Weights,
        tuning: Tuning | None = None,
        num_workers: int = 0,
    ) -> None:
        """Take a copy of the weights.

        Args:
            spec: What to train.
            weights: The initial configuration.
            tuning: What no bit depends on; by a trial at first use unless given.
            num_workers: How many replicas are trained at a time; by torch's threads
                unless given.
        """
        library = load_library(spec.run.dtype, spec.run.precision)
        assert library is not None, "CompiledPath.fits says where it can be had"
        self._library, self._spec = library, spec
        self._padded = {name: self._pad(layer) for name, layer in weights.items()}
        self.parameters = name_parameters(
            Weights(
                {
                    name: Layer(
                        self._padded[name].w[..., : layer.b.shape[1]],
                        self._padded[name].b[:, : layer.b.shape[1]],
                    )
                    for name, layer in weights.items()
                }
            )
        )
        self.state: dict[str, Tensor] = {}
        self.accumulators = Accumulators.zeros(weights.num_replicas)
        self._program = self._describe(weights)
        self.tuning = tuning or self._tune(weights)
        self._program.take(self.tuning)
        self._num_workers = num_workers or min(
            torch.get_num_threads(), weights.num_replicas
        )
        size = library.scratch_size(byref(self._program))
        self._scratches = [self._new_scratch(size) for _ in range(self._num_workers)]
        self._pool = ThreadPoolExecutor(self._num_workers, "birthmark")

    @staticmethod
    def fits(spec: RunSpec, device: str) -> bool:
        """Whether this path can train what the spec asks for, on this machine."""
        return (
            device == "cpu"
            and spec.network.is_plain
            and spec.training.is_plain_sgd
            and spec.training.loss in _LOSSES
            and spec.network.activation in _ACTIVATIONS
            and load_library(spec.run.dtype, spec.run.precision) is not None
        )

    @classmethod
    def count_bytes(cls, sizes: StackSizes, rows: int, count: int) -> PathBytes:
        """See `paths`: what the C itself says; it works on a replica a core."""
        run, training = sizes.spec.run, sizes.spec.training
        library = load_library(run.dtype, run.precision)
        assert library is not None, "CompiledPath.fits says where it can be had"
        rows_of = [library.row_stride(c_int64(o)) for _, o in sizes.layers]
        stored = sum(
            (i + 1) * row for (i, _), row in zip(sizes.layers, rows_of, strict=True)
        )
        program = Program(
            num_layers=len(sizes.layers),
            sizes=whole_numbers(sizes.values),
            batch_size=training.batch_size,
        )
        workers = min(torch.get_num_threads(), run.replicas)
        scratch = workers * library.scratch_size(byref(program))
        if training.batch_order == "shared" and run.replicas > 1:
            crew = -(-run.replicas // workers)
            if run.precision == "full" and sizes.values[1] <= _WIDEST_JOINED:
                scratch += workers * library.shared_scratch_size(
                    byref(program), c_int64(crew)
                )
        return PathBytes(
            run.replicas * stored * sizes.item, scratch * sizes.item, evaluation=0
        )

    def make_steps(self, examples: Examples, step_range: StepRange) -> None:
        """See `Path`."""
        joined = len(step_range.order_RN) == 1 and self.tuning.joins
        make_steps = self._make_joined_steps if joined else self._make_steps
        for start in range(0, len(step_range), _MOST_STEPS):
            make_steps(examples, step_range.part(start, start + _MOST_STEPS))

    def _tune(self, weights: Weights) -> Tuning:
        """Chosen on this processor, for networks of about this shape."""
        training, run = self._spec.training, self._spec.run
        sizes = list(self._program.sizes[: self._program.num_layers + 1])
        shared = training.batch_order == "shared" and weights.num_replicas > 1
        joins = [False]
        if shared and run.precision == "full" and sizes[1] <= _WIDEST_JOINED:
            joins = [True, False] if sizes[1] <= _JOINED else [False, True]
        return find_tuning(
            [Tuning(*way, joined) for joined in joins for way in _WAYS],
            [training.batch_size, *sizes],
            [run.dtype, run.precision, Path(self._library._name).stem],
            lambda: self._begin_trial(weights),
        )

    def _begin_trial(self, weights: Weights) -> Callable[[Tuning], float]:
        """What times steps under a tuning: of two replicas on this thread alone."""
        few = weights.rows(slice(0, _TRIED_ROWS))
        path = CompiledPath(self._spec, few, Tuning(), num_workers=1)
        examples, count = self._made_up_examples(), _TRIED_STEPS
        order_1N = torch.arange(len(examples)).unsqueeze(0)
        order_RN = order_1N.expand(few.num_replicas, -1).contiguous()

        def time_steps(tuning: Tuning) -> float:
            path.tuning = tuning
            path._program.take(tuning)
            order = order_1N if tuning.joins else order_RN
            started = time.thread_time()
            path.make_steps(examples, StepRange(order, 0, 0, [0.0] * count))
            return time.thread_time() - started

        time_steps(Tuning())  # warms up
        return time_steps

    def _made_up_examples(self) -> Examples:
        sizes, count = self._program.sizes, self._spec.training.batch_size
        num_inputs, num_classes = sizes[0], sizes[self._program.num_layers]
        count *= _TRIED_STEPS
        x = np.resize(np.arange(251, dtype=np.uint8), (count, num_inputs))
        y = np.arange(count) % num_classes
        dtype = getattr(torch, self._spec.run.dtype)
        facts = Dataset("", x, y, x, y, num_classes, (num_inputs,), 255)
        return Examples(facts, x, y, dtype=dtype, device="cpu")

    def evaluate(self, examples: Examples) -> Tensor:
        """See `Path`."""
        num_replicas = len(self.accumulators.loss_R)
        accumulators = Accumulators.zeros(num_replicas)
        program, stack = self._look_at(examples), self._stack(accumulators)
        order_N = torch.arange(len(examples))
        course = Course(order_N.data_ptr(), len(examples))

        def evaluate_rows(worker: int) -> None:
            scratch = c_void_p(self._scratches[worker].data_ptr())
            for row in range(worker, num_replicas, self._num_workers):
                self._library.evaluate(
                    byref(program), byref(stack), c_int64(row), byref(course), scratch
                )

        self._run_workers(evaluate_rows, self._num_workers)
        return torch.stack(
            [accumulators.loss_R, accumulators.correct_R.double()]
        ) / len(examples)

    def _make_steps(self, examples: Examples, step_range: StepRange) -> None:
        nonfinite_step_R = self.accumulators.nonfinite_step_R
        rows = torch.nonzero(nonfinite_step_R < 0).flatten().tolist()
        tasks_by_worker = share_out(rows, len(step_range), self._num_workers)
        program, stack = self._look_at(examples), self._stack(self.accumulators)
        rates = (c_double * len(step_range))(*step_range.lrs)
        begun = {row: Event() for row in rows}  # the first part of a shared replica

        def carry_out(task: Task, scratch: c_void_p) -> None:
            if task.waits:
                begun[task.row].wait()
            if nonfinite_step_R[task.row] < 0:
                shared = len(step_range.order_RN) == 1
                order_N = step_range.order_RN[0 if shared else task.row]
                course = Course(order_N.data_ptr(), len(order_N))
                asked = task.stop - task.first
                made = self._library.train(
                    byref(program),
                    byref(stack),
                    c_int64(task.row),
                    byref(course),
                    c_int64(step_range.first_batch + task.first),
                    c_int64(asked),
                    byref(rates, task.first * 8),
                    scratch,
                )
                if made < asked:
                    failed_step = step_range.first_step + task.first + made
                    nonfinite_step_R[task.row] = failed_step
            begun[task.row].set()

        def work(worker: int) -> None:
            scratch = c_void_p(self._scratches[worker].data_ptr())
            for task in tasks_by_worker[worker]:
                carry_out(task, scratch)

        self._run_workers(work, len(tasks_by_worker))

    def _make_joined_steps(self, examples: Examples, step_range: StepRange) -> None:
        nonfinite_step_R = self.accumulators.nonfinite_step_R
        rows = torch.nonzero(nonfinite_step_R < 0).flatten().tolist()
        program, stack = self._look_at(examples), self._stack(self.accumulators)
        course = Course(step_range.order_RN.data_ptr(), step_range.order_RN.shape[1])
        rates = (c_double * len(step_range))(*step_range.lrs)

        def work(worker: int) -> None:
            mine = rows[worker :: self._num_workers]
            made = whole_numbers([0] * len(mine))
            crew = Crew(whole_numbers(mine), len(mine), made)
            size = self._library.shared_scratch_size(byref(program), c_int64(len(mine)))
            scratch = self._new_scratch(size)
            self._library.train_shared(
                byref(program),
                byref(stack),
                byref(crew),
                byref(course),
                c_int64(step_range.first_batch),
                c_int64(len(step_range)),
                rates,
                c_void_p(scratch.data_ptr()),
            )
            for row, count in zip(mine, made, strict=True):
                if count < len(step_range):
                    nonfinite_step_R[row] = step_range.first_step + count

        self._run_workers(work, min(len(rows), self._num_workers))

    def _run_workers(self, work: Callable[[int], None], count: int) -> None:
        if count == 1:
            work(0)
            return
        futures = [self._pool.submit(work, worker) for worker in range(count)]
        wait(futures)
        for future in futures:
            future.result()

    def _pad(self, layer: Layer) -> Layer:
        num_replicas, fan_in, fan_out = layer.w.shape
        row = self._library.row_stride(c_int64(fan_out))
        w = layer.w.new_zeros(num_replicas, fan_in, row)
        b = layer.b.new_zeros(num_replicas, row)
        w[..., :fan_out], b[:, :fan_out] = layer.w, layer.b
        return Layer(w, b)

    def _describe(self, weights: Weights) -> Program:
        sizes = [layer.w.shape[1] for _, layer in weights.items()]
        training = self._spec.training
        return Program(
            num_layers=len(sizes),
            sizes=whole_numbers([*sizes, weights["output"].b.shape[1]]),
            batch_size=training.batch_size,
            loss=_LOSSES[training.loss],
            eps=training.eps,
            rectifies=_ACTIVATIONS[self._spec.network.activation],
        )

    def _look_at(self, examples: Examples) -> Program:
        """The program, with these examples as its data."""
        self._program.pixels_NI = examples.pixels_NI.data_ptr()
        self._program.classes_N = examples.classes_N.data_ptr()
        self._program.full_scale = examples.full_scale
        self._program.mean, self._program.std = examples.mean, examples.std
        return self._program

    def _stack(self, accumulators: Accumulators) -> Stack:
        w = [layer.w for layer in self._padded.values()]
        b = [layer.b for layer in self._padded.values()]
        sums = [values_R.data_ptr() for values_R in accumulators.sums.values()]
        return Stack(
            addresses(w),
            addresses(b),
            whole_numbers([tensor.stride(0) for tensor in w]),
            whole_numbers([tensor.stride(0) for tensor in b]),
            *sums,
        )

    def _new_scratch(self, size: int) -> Tensor:
        """Working memory of a worker, which begins on a cache line."""
        dtype = getattr(torch, self._spec.run.dtype)
        spare = _ALIGNMENT // dtype.itemsize
        scratch = torch.zeros(size + spare, dtype=dtype)
        behind = -scratch.data_ptr() % _ALIGNMENT
        return scratch[behind // dtype.itemsize :]
