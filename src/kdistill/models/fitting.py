"""Fits a network, whoever wrote it, to the data: images of a shape in, (N, K) logits out; or the reason why it cannot.

A few random images run through it once. What can be adapted is, and is said: channels of the first convolution, the
class head, where the logits are in what it gives, probabilities in place of logits.
"""

import copy
import logging
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from kdistill.base.errors import UserError
from kdistill.models.answer import Answer, NoLogits, describe, find_answer, give_logits
from kdistill.models.head import head_name
from kdistill.models.taps import asleep

log = logging.getLogger(__name__)

Say = Callable[[str], None]
_ALONE = 1e-3  # largest difference, as a part of the logits' size, between an image alone and in a batch


def fit_network(
    network: nn.Module,
    *,
    num_classes: int,
    image_shape: Sequence[int],
    owner: str,
    image_size: tuple[int, int] | None = None,
    trains: bool = True,
    say: Say = log.info,
) -> None:
    """Makes a network take images of a shape and give (N, K) logits.

    Args:
        network: changed in place; random numbers are drawn for new and lazy parts alone.
        num_classes: K.
        image_shape: (C, H, W) of the data.
        owner: how messages call the network, such as `student=resnet18`.
        image_size: (H, W) that the network sees the images at; None: that of the data.
        trains: whether it is to run in training mode, too.
        say: gets a line for each adaptation.

    Raises:
        UserError: it cannot be; the message says what the network got, what it gave and what is needed.
    """
    size = tuple(image_size or image_shape[1:])
    images = torch.rand(2, image_shape[0], *size, generator=torch.Generator().manual_seed(0))
    said = f"{owner} on {len(images)} images of {tuple(images.shape[1:])}"
    if line := _fit_channels(network, image_shape[0], images, owner):
        say(f"{owner}: {line}")
    answer, logits = _answer(network, images, num_classes, said)
    if answer.scale == "logits" and logits.shape[1:] != (num_classes,):
        say(f"{owner}: {_fit_classes(network, num_classes, images, logits, said)}")
        answer, logits = _answer(network, images, num_classes, said)
        if logits.shape[1:] != (num_classes,):
            raise UserError(f"{said} gives {tuple(logits.shape)}: {_needed(num_classes)}")
    if not torch.isfinite(logits).all():
        raise UserError(f"{said} gives NaN or infinite values with its first weights: {logits.flatten()[:4].tolist()}")
    if _depends_on_others(network, answer, logits, images, owner):
        say(
            f"{owner}: what it gives for an image depends on the other images of its batch, in evaluation too (as of a "
            "norm without running statistics), so its figures depend on dataset.eval_batch_size"
        )
    answers = {False: answer, True: answer}
    if trains:
        answers[True] = _answer_in_training(network, images, num_classes, said, answer.scale)
    if image_size is not None and tuple(image_size) != tuple(image_shape[1:]):
        side = "images are resized from {} x {} to {} x {} before it".format(*image_shape[1:], *size)
        if size[0] > image_shape[1] or size[1] > image_shape[2]:
            side += (
                f", which shows nothing that is not there at {image_shape[1]}: dataset.image_size={max(size)}, with "
                "the smaller image_size at the other network, makes each view at the larger size"
            )
        say(f"{owner}: {side}")
        give_logits(network, answers, (size[0], size[1]))
    elif any(one != Answer() for one in answers.values()):
        give_logits(network, answers)
    words = {mode: one.describe() for mode, one in answers.items()}
    for mode, line in words.items():
        if line and (not mode or line != words[False]):
            say(f"{owner}: {'in training ' if line != words[not mode] else ''}{line}")


def _needed(num_classes: int) -> str:
    return f"the logits (N, {num_classes}) are needed, one for each class of the data"


def _run(network: nn.Module, images: Tensor, said: str) -> Any:
    with asleep(network):
        try:
            return network(images.clone())  # it may change its input in place
        except Exception as error:  # whatever the network's own code raises is shown with what it was given
            raise UserError(f"{said}, {images.dtype}, fails: {reason(error)}") from error


def reason(error: BaseException) -> str:
    """An error of somebody's code: its type, its words, and the last line of their own that led to it."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [
        frame for frame in frames if not any(f"/{name}/" in frame.filename for name in ("torch", "kdistill", "hydra"))
    ]
    place = f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())}{place}"


def _answer(network: nn.Module, images: Tensor, num_classes: int, said: str) -> tuple[Answer, Tensor]:
    """Where its logits are, and what they are; probabilities as such."""
    output = _run(network, images, said)
    try:
        answer = find_answer(output, len(images), num_classes)
    except NoLogits as error:
        raise UserError(f"{said}: {error}; {_needed(num_classes)}") from error
    values = answer.of(output)
    if not values.is_floating_point():
        raise UserError(f"{said} gives {values.dtype} values; {_needed(num_classes)}, as floating-point numbers")
    if values.ndim == 2 and values.shape[1] == num_classes:
        answer = replace(answer, scale=_scale(network, values, images, answer))
    return answer, answer.of(output)


def _scale(network: nn.Module, values: Tensor, images: Tensor, answer: Answer) -> str:
    if bool((values < 0).any()) or bool((values > 1).any()):
        return "logits"
    if bool(((values.sum(1) - 1).abs() < 1e-3).all()):
        return "probabilities"
    with asleep(network), torch.enable_grad():
        graph = answer.of(network(images.clone())).grad_fn
    return "chances" if graph is not None and graph.name() == "SigmoidBackward0" else "logits"


def _depends_on_others(network: nn.Module, answer: Answer, logits: Tensor, images: Tensor, owner: str) -> bool:
    alone = answer.of(_run(network, images[:1], f"{owner} on one image alone of {tuple(images.shape[1:])}"))
    return bool((alone - logits[:1]).abs().max() > _ALONE * logits.abs().max().clamp_min(1e-6))


def _answer_in_training(network: nn.Module, images: Tensor, num_classes: int, said: str, scale: str) -> Answer:
    """Where its logits are in training mode; tried on a copy, for its norms and its random numbers change."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        tried = copy.deepcopy(network).train()
        try:
            output = tried(images.clone())
        except Exception as error:
            raise UserError(f"{said} in training mode fails: {reason(error)}") from error
    try:
        answer = find_answer(output, len(images), num_classes)
    except NoLogits as error:
        raise UserError(f"{said}, in training mode: {error}; {_needed(num_classes)}") from error
    values = answer.of(output)
    if tuple(values.shape[1:]) != (num_classes,):
        raise UserError(f"{said}, in training mode, gives {describe(output)}; {_needed(num_classes)}")
    return replace(answer, scale=scale)


def _fit_channels(network: nn.Module, channels: int, images: Tensor, owner: str) -> str | None:
    """Adapts the first convolution to the images' channels; in words, or None where it fits.

    What sees the images first is found by running them; it is a convolution that raises for its number of channels.
    """
    first = _first_layer(network, images)
    if not isinstance(first, nn.Conv2d) or first.in_channels == channels or isinstance(first, nn.LazyConv2d):
        return None
    had, name = first.in_channels, next(name for name, module in network.named_modules() if module is first)
    if first.groups != 1:
        raise UserError(
            f"{owner}: its first convolution {name} takes images of {had} channels in {first.groups} groups, the data "
            f"have {channels}: give it an argument in_chans"
        )
    from timm.models import adapt_input_conv

    with torch.no_grad():
        weight = adapt_input_conv(channels, first.weight, base_chans=had)
    first.weight = nn.Parameter(weight.clone(), requires_grad=first.weight.requires_grad)
    first.in_channels = channels
    return f"its first convolution {name} is adapted from {had} to {channels} channels"


def _first_layer(network: nn.Module, images: Tensor) -> nn.Module | None:
    """The innermost layer with weights that the images themselves go into first."""

    class Found(Exception):
        pass

    first: nn.Module | None = None

    def note(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        nonlocal first
        first = module
        raise Found

    handles = [module.register_forward_pre_hook(note) for module in _layers(network)]
    try:
        with asleep(network):
            network(images.clone())
    except Found:
        return first
    except Exception:  # it will fail again where its words are shown
        return None
    finally:
        for handle in handles:
            handle.remove()
    return None


def _fit_classes(network: nn.Module, num_classes: int, images: Tensor, logits: Tensor, said: str) -> str:
    """Re-makes the class head for K classes; in words.

    It is a linear layer or a 1 x 1 convolution with as many outputs as the network has.
    """
    given = logits[0].numel()
    refusal = f"{said} gives {tuple(logits.shape)}: {_needed(num_classes)}, and its head cannot be re-made for them"
    try:
        name = head_name(network, images.shape[1:])
    except UserError as error:
        raise UserError(f"{refusal}: {error}") from error
    head = network.get_submodule(name)
    if isinstance(head, nn.Linear) and head.out_features == given and name:
        network.set_submodule(name, nn.Linear(head.in_features, num_classes, bias=head.bias is not None))
    elif isinstance(head, nn.Conv2d) and head.out_channels == given and head.kernel_size == (1, 1) and name:
        network.set_submodule(name, nn.Conv2d(head.in_channels, num_classes, 1, bias=head.bias is not None))
    else:
        what = f"{name or 'the whole network'}, a {type(head).__name__}"
        raise UserError(f"{refusal}: it ends in {what}, not in a linear layer with {given} outputs")
    return f"its class head {name} is made anew for {num_classes} classes in place of {given}"


def _layers(network: nn.Module) -> list[nn.Module]:
    """The modules that have weights and no modules inside."""
    innermost = [module for module in network.modules() if next(module.children(), None) is None]
    return [module for module in innermost if next(module.parameters(), None) is not None]
