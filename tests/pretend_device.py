"""A device of its own name for tests: its tensors lie in ordinary memory, but mix with no others, as on a GPU.

    import pretend_device
    pretend_device.register()                 # once in a process, and for good
    model = models.load("grown/pythia", device="pretend")

An operation on tensors of two devices is refused with CUDA's words, and `.numpy()` with PyTorch's own. What CUDA
allows is allowed: `copy_` and `to` between devices, a CPU tensor without dimensions as an operand of an
elementwise operation, and CPU tensors as indices. Arithmetic is the processor's, so that its numbers come out.
What it cannot show: CUDA's own rounding, speed and memory.
"""

import torch
from torch.utils._python_dispatch import return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "pretend"
aten = torch.ops.aten
CROSSING = {aten.copy_.default, aten._to_copy.default}
INDEXING = {aten.index.Tensor, aten.index_put_.default, aten.index_put.default, aten._index_put_impl_.default}


class PretendTensor(torch.Tensor):
    """A tensor on the device, around the one in memory that holds its numbers."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=torch.device(NAME, 0),
            requires_grad=False,
        )

    def __init__(self, inner):
        self.inner = inner

    def __repr__(self, **_):
        return f"{self.inner!r} on {NAME}"

    def numpy(self, **_):
        raise TypeError(f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() to copy it first.")

    def __array__(self, *_, **__):
        return self.numpy()

    def tolist(self):
        return self.inner.tolist()

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        _refuse_mixture(func, args, kwargs)
        comes_back = "device" in kwargs and torch.device(kwargs["device"] or NAME).type != NAME
        if "device" in kwargs:
            kwargs["device"] = torch.device("cpu")
        out = func(*tree_map(_unwrap, args), **tree_map(_unwrap, kwargs))
        if func is aten.copy_.default:
            return args[0]
        if comes_back:
            return out
        if func is aten._to_copy.default:
            return PretendTensor(out)
        # A view shares memory with what it was taken from, and what is changed in place stays itself.
        return return_and_correct_aliasing(func, args, kwargs, tree_map(_wrap, out))


def _wrap(value):
    return PretendTensor(value) if type(value) is torch.Tensor else value


def _unwrap(value):
    return value.inner if isinstance(value, PretendTensor) else value


def _refuse_mixture(func, args, kwargs):
    """Raise what CUDA raises for tensors of two devices, but where it would not."""
    if func in CROSSING:
        return
    if func in INDEXING:
        owner, indices, *values = args
        # Indices may lie on the processor, whatever they point into, but not the other way round.
        found = [owner, *values, *(index for index in indices if isinstance(index, PretendTensor))]
    else:
        found = tree_leaves((args, kwargs))
    may_cross = torch.Tag.pointwise in func.tags or func in INDEXING
    devices = {
        str(value.device)
        for value in found
        if isinstance(value, torch.Tensor) and (isinstance(value, PretendTensor) or value.ndim or not may_cross)
    }
    if len(devices) > 1:
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found at least two devices, "
            f"{' and '.join(sorted(devices))}! (when checking the arguments of {func})"
        )
    generator = kwargs.get("generator")
    if generator is not None:
        raise RuntimeError(f"Expected a '{NAME}' device type for generator but found '{generator.device}'")


class _Module:
    """What PyTorch and transformers ask a device's module for. Chance is the processor's."""

    is_available = is_initialized = staticmethod(lambda: True)
    _is_in_bad_fork = staticmethod(lambda: False)
    device_count = staticmethod(lambda: 1)
    current_device = staticmethod(lambda: 0)
    get_amp_supported_dtype = staticmethod(lambda: [torch.bfloat16, torch.float16])
    manual_seed_all = staticmethod(lambda seed: None)
    get_rng_state = staticmethod(lambda device=0: torch.get_rng_state())
    set_rng_state = staticmethod(lambda state, device=0: torch.set_rng_state(state))


def register():
    """Make the device known to PyTorch in this process."""
    _setup_privateuseone_for_python_backend(NAME, _Module)

    @torch.library.impl("aten::empty.memory_format", "PrivateUse1")
    def empty(size, *, dtype=None, layout=None, device=None, pin_memory=None, memory_format=None):
        return PretendTensor(torch.empty(size, dtype=dtype))

    @torch.library.impl("aten::empty_strided", "PrivateUse1")
    def empty_strided(size, stride, *, dtype=None, layout=None, device=None, pin_memory=None):
        return PretendTensor(torch.empty_strided(size, stride, dtype=dtype))

    @torch.library.impl("aten::_copy_from", "PrivateUse1")
    def copy_from(source, goal, non_blocking=False):
        # What is left to it: `torch.tensor(..., device=...)`, which goes past __torch_dispatch__.
        _unwrap(goal).copy_(_unwrap(source))
        return goal
